/** For engines that must not fail. */
export function fail(error: Error): never {
  throw error;
}
