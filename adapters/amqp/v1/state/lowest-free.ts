/** The lowest index of the list at which nothing stands. */
export function lowestFree(list: readonly unknown[]): number {
  const index = list.indexOf(undefined);
  return index < 0 ? list.length : index;
}
