/** What the tests of the OCI configuration make one of. */
import type { OciRequest } from '../oci.ts';

export const ociRequest: OciRequest = {
  spec: {
    sandbox: 'a'.repeat(64),
    name: 'web',
    image: 'registry.test/app:1',
    args: ['--port', '8080'],
    env: ['PORT=8080', 'FROM_IMAGE=replaced'],
    limits: { memoryBytes: 268_435_456, cpuMillis: 500, cpuShares: 512, diskBytes: 1_073_741_824 },
    readOnlyRoot: true,
  },
  image: {
    architecture: 'amd64',
    os: 'linux',
    entrypoint: ['/server'],
    cmd: ['ignored'],
    env: ['PATH=/bin', 'FROM_IMAGE=1'],
    workingDirectory: '/app',
    layers: [],
  },
  user: { uid: 1000, gid: 1000, groups: [2000], home: '/home/app' },
  hostname: 'web-0',
  rootfs: '/run/sampan/engine/containers/c/rootfs',
  userNamespacePath: '/run/sampan/engine/sandboxes/s/user',
  networkNamespacePath: '/run/sampan/engine/sandboxes/s/net',
  idRange: { first: 6_553_600, length: 65_536 },
  cgroupsPath: '/sampan-golden/s/c',
  cgroupVersion: 'v2',
  swapAccounting: true,
  mounts: [
    {
      destination: '/data/deep',
      type: 'bind',
      source: '/run/sampan/engine/containers/c/mounts/0',
      options: ['rbind', 'rw'],
    },
    { destination: '/dev/shm', type: 'tmpfs', source: 'tmpfs', options: ['size=1048576'] },
  ],
  etc: { hosts: '/run/s/hosts', resolver: '/run/s/resolv.conf', hostname: '/run/s/hostname' },
  engineCapabilities: ['CHOWN', 'KILL', 'SYS_ADMIN'],
  devices: { nodes: [], mounts: [], rules: [] },
  hostMaskedPaths: ['/sys/devices/system/cpu/cpu0/thermal_throttle'],
  oomScoreAdjustment: -900,
  openFiles: 20_000,
  arch: 'x64',
};
