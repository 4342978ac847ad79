/** `/_ping`, `/version` and `/info`. */
import { hostname } from 'node:os';
import { readFile } from 'node:fs/promises';
import { answerJson, type Call } from './call.ts';
import { riskWarnings } from './risk-view.ts';

export const NEWEST_MINOR = 45;
export const OLDEST_MINOR = 24;

export async function ping(call: Call): Promise<void> {
  call.response.writeHead(200, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': 2,
    'cache-control': 'no-cache, no-store, must-revalidate',
    pragma: 'no-cache',
    // The classic builder: what the client offers for the newer one is not here.
    'builder-version': '1',
    swarm: 'inactive',
  });
  call.response.end(call.request.method === 'HEAD' ? undefined : 'OK');
}

export async function version(call: Call): Promise<void> {
  const info = call.engine.info();
  const details = {
    ApiVersion: `1.${NEWEST_MINOR}`,
    MinAPIVersion: `1.${OLDEST_MINOR}`,
    Os: 'linux',
    Arch: architecture(),
    KernelVersion: info.kernel,
  };
  answerJson(call, {
    Platform: { Name: 'Sampan' },
    Components: [
      {
        Name: 'Engine',
        Version: call.version,
        Details: { ...details, GitCommit: '', GoVersion: '', BuildTime: '', Experimental: 'false' },
      },
      { Name: info.runtime.name, Version: info.runtime.version, Details: { GitCommit: '' } },
      { Name: 'conmon', Version: info.conmonVersion, Details: { GitCommit: '' } },
    ],
    Version: call.version,
    ...details,
    GitCommit: '',
    GoVersion: '',
    BuildTime: '',
  });
}

export async function info(call: Call): Promise<void> {
  const { engine } = call;
  const facts = engine.info();
  const containers = engine.containers();
  const alive = containers.filter(({ state }) => state === 'running');
  const running = alive.filter(({ paused }) => paused !== true).length;
  answerJson(call, {
    ID: facts.instance,
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: containers.filter(({ paused }) => paused === true).length,
    ContainersStopped: containers.length - alive.length,
    Images: engine.images.list().length,
    Driver: 'overlay2',
    DriverStatus: [
      ['Id mapping', facts.idMapping],
      ['Sandbox pool', `${facts.sandboxPool.ready} of ${facts.sandboxPool.target} ready`],
    ],
    SystemStatus: null,
    Plugins: { Volume: [], Network: [], Authorization: null, Log: ['json-file', 'local', 'none'] },
    MemoryLimit: true,
    SwapLimit: engine.limitSupport().swap,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: engine.limitSupport().cpuset,
    PidsLimit: true,
    OomKillDisable: false,
    IPv4Forwarding: true,
    BridgeNfIptables: true,
    BridgeNfIp6tables: true,
    Debug: false,
    NFd: 0,
    NGoroutines: 0,
    NEventsListener: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: facts.cgroups === 'v2' ? '2' : '1',
    KernelVersion: facts.kernel,
    OperatingSystem: await operatingSystem(),
    OSVersion: '',
    OSType: 'linux',
    Architecture: architecture() === 'amd64' ? 'x86_64' : 'aarch64',
    IndexServerAddress: '',
    RegistryConfig: { InsecureRegistryCIDRs: [], IndexConfigs: {}, Mirrors: [] },
    NCPU: facts.cpus,
    MemTotal: facts.memoryBytes,
    GenericResources: null,
    DockerRootDir: facts.dataDirectory,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: hostname(),
    Labels: [],
    ExperimentalBuild: false,
    ServerVersion: call.version,
    Runtimes: { [facts.runtime.name]: { path: facts.runtime.path } },
    DefaultRuntime: facts.runtime.name,
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: { ID: '', Expected: '' },
    RuncCommit: { ID: facts.runtime.version, Expected: facts.runtime.version },
    InitCommit: { ID: '', Expected: '' },
    SecurityOptions: ['name=seccomp,profile=builtin', 'name=userns'],
    Warnings: riskWarnings(facts),
  });
}

function architecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}

/** `PRETTY_NAME` of os-release(5). */
async function operatingSystem(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? 'Linux';
}
