/** What can be had, and what a server of each plan is started with. */
import type { Plan } from './postgres.ts';

export const SERVICE_ID = '6f2d6a0e-5a54-4c0b-9a3f-0d5c6d1d7b10';

export const PLANS: readonly Plan[] = [
  {
    id: '2c1b0a52-3f0d-4d0e-8a41-5b8f0a3b1c01',
    name: 'small',
    description: '256 MB of memory, 1 GB of disk, 20 connections',
    memoryMb: 256,
    diskMb: 1024,
    connections: 20,
    cpuMillis: 500,
  },
  {
    id: '2c1b0a52-3f0d-4d0e-8a41-5b8f0a3b1c02',
    name: 'medium',
    description: '1 GB of memory, 10 GB of disk, 80 connections',
    memoryMb: 1024,
    diskMb: 10 * 1024,
    connections: 80,
    cpuMillis: 1000,
  },
  {
    id: '2c1b0a52-3f0d-4d0e-8a41-5b8f0a3b1c03',
    name: 'large',
    description: '4 GB of memory, 50 GB of disk, 200 connections',
    memoryMb: 4096,
    diskMb: 50 * 1024,
    connections: 200,
    cpuMillis: 4000,
  },
];

/** For backups, probes and those who look after it. */
const OWN_CONNECTIONS = 8;

/**
 * A server's own options. A quarter of the memory for its cache is PostgreSQL's advice; the log of changes takes no more than an
 * eighth of the disk, as the rest is what was paid for. No parallel workers: the shared memory of a container is small.
 */
export function serverOptions(plan: Plan): string[] {
  const walMb = Math.min(1024, Math.max(48, Math.floor(plan.diskMb / 8)));
  const options: Record<string, string | number> = {
    shared_buffers: `${Math.floor(plan.memoryMb / 4)}MB`,
    effective_cache_size: `${Math.floor((plan.memoryMb * 3) / 4)}MB`,
    maintenance_work_mem: `${Math.max(16, Math.floor(plan.memoryMb / 16))}MB`,
    work_mem: '4MB',
    max_connections: plan.connections + OWN_CONNECTIONS,
    superuser_reserved_connections: 3,
    max_wal_size: `${walMb}MB`,
    min_wal_size: '32MB',
    temp_file_limit: `${Math.floor(plan.diskMb / 4)}MB`,
    max_parallel_workers_per_gather: 0,
    max_parallel_maintenance_workers: 0,
  };
  return Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
