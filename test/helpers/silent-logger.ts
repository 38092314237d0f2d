import type { Logger } from '../../core/ports/logger.ts';

const ignore = (): void => {};

export const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
