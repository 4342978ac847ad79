/** The parts of an inspected container's `HostConfig` and `Config` that are no more than a translation. */
import { maskedPaths, readonlyPaths } from '../containers/oci.ts';
import type { Healthcheck, Limits } from '../engine.ts';

/** What holds, and for what this engine has not, what Docker shows where nothing was asked. */
export function restOfHostConfig(limits: Limits): Record<string, unknown> {
  return {
    MemorySwap: limits.memorySwapBytes ?? limits.memoryBytes ?? 0,
    MemoryReservation: limits.memoryReservationBytes ?? 0,
    MemorySwappiness: null,
    CpusetCpus: limits.cpuset ?? '',
    CpusetMems: limits.memoryNodes ?? '',
    CpuPeriod: 0,
    CpuQuota: 0,
    BlkioWeight: limits.blockWeight ?? 0,
    BlkioWeightDevice: [],
    OomKillDisable: null,
    Cgroup: '',
    DeviceCgroupRules: null,
    DeviceRequests: null,
    CgroupParent: '',
    BlkioDeviceReadBps: [],
    BlkioDeviceWriteBps: [],
    BlkioDeviceReadIOps: [],
    BlkioDeviceWriteIOps: [],
    CpuRealtimePeriod: 0,
    CpuRealtimeRuntime: 0,
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
    ContainerIDFile: '',
    VolumeDriver: '',
    ConsoleSize: [0, 0],
    Isolation: '',
    StorageOpt: limits.diskBytes === undefined ? null : { size: String(limits.diskBytes) },
    MaskedPaths: maskedPaths,
    ReadonlyPaths: readonlyPaths,
  };
}

export function healthcheckView(check: Healthcheck | undefined): Record<string, unknown> | undefined {
  if (check === undefined) return undefined;
  const nanoseconds = (milliseconds = 0): number => Math.round(milliseconds * 1_000_000);
  return {
    Test: check.test,
    Interval: nanoseconds(check.interval),
    Timeout: nanoseconds(check.timeout),
    StartPeriod: nanoseconds(check.startPeriod),
    StartInterval: nanoseconds(check.startInterval),
    Retries: check.retries ?? 0,
  };
}
