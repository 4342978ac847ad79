/** How large an instance is, as bodies of requests say it: of processes, tasks and deployments. */
import { LEAST_MEMORY, type Reader } from './validate.ts';

export const SIZE_FIELDS = ['memory_in_mb', 'disk_in_mb', 'log_rate_limit_in_bytes_per_second'] as const;

export interface Sizes {
  memoryMb?: number;
  diskMb?: number;
  /** -1: no limit. */
  logRateLimitBytes?: number;
}

/** Those that are given. */
export function readSizes(reader: Reader): Sizes {
  const memoryMb = reader.megabytes('memory_in_mb', { least: LEAST_MEMORY });
  const diskMb = reader.megabytes('disk_in_mb');
  const logRate = reader.integer('log_rate_limit_in_bytes_per_second', { min: -1, max: Number.MAX_SAFE_INTEGER });
  return {
    ...(memoryMb !== undefined && { memoryMb }),
    ...(diskMb !== undefined && { diskMb }),
    ...(logRate !== undefined && { logRateLimitBytes: logRate }),
  };
}
