/** A container by default is nowhere weaker than Docker's: the two OCI configurations, side by side. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { allCapabilities, defaultCapabilities } from './capabilities.ts';
import { type OciConfig, ociConfig } from './oci.ts';
import type { SeccompProfile, SeccompRule } from '../engine.ts';
import { weakerThan } from './seccomp-strength.ts';
import { ociRequest } from './testdata/oci-request.ts';

interface Docker {
  dockerd: {
    capabilities: Record<'bounding' | 'effective' | 'permitted', string[]>;
    noNewPrivileges: boolean;
    oomScoreAdj: number;
    mounts: { destination: string; type: string; options: string[] }[];
    namespaces: string[];
    devices: unknown[];
    deviceRules: DeviceRule[];
    maskedPaths: string[];
    readonlyPaths: string[];
  };
  newest: {
    namespaces: string[];
    maskedPaths: string[];
    maskedForEachProcessor: string;
    seccomp: Record<'x64' | 'arm64', DockerSeccomp>;
  };
}

interface DockerSeccomp {
  allow: string;
  arguments: { names: string; args: SeccompRule['args']; withoutCapability?: string[] }[];
  missing: { names: string; errno: number; withoutCapability: string[] }[];
  capability: Record<string, string>;
}

interface DeviceRule {
  allow: boolean;
  access: string;
  type?: string;
  major?: number;
  minor?: number;
}

const docker = JSON.parse(readFileSync(new URL('testdata/docker-defaults.json', import.meta.url), 'utf8')) as Docker;

/** What Docker's clients ask for when they ask for nothing. */
const ours = (add: string[] = [], arch: NodeJS.Architecture = 'x64'): OciConfig =>
  ociConfig({
    ...ociRequest,
    spec: { sandbox: 's', name: 'n', image: 'i', args: ['true'], noNewPrivileges: false, capabilities: { add } },
    mounts: [],
    arch,
  });

/** Docker's rules for a container with these capabilities. */
function dockerSeccomp(arch: 'x64' | 'arm64', capabilities: readonly string[]): SeccompProfile {
  const facts = docker.newest.seccomp[arch];
  const allow = (names: string, args?: SeccompRule['args']): SeccompRule => ({
    names: names.split(' '),
    action: 'SCMP_ACT_ALLOW',
    ...(args === undefined ? {} : { args }),
  });
  const without = (names: string[] = []): boolean => !names.some((name) => capabilities.includes(name));
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures:
      arch === 'x64' ? ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'] : ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    syscalls: [
      allow(facts.allow),
      ...Object.entries(facts.capability).flatMap(([name, calls]) =>
        capabilities.includes(name) ? [allow(calls)] : [],
      ),
      ...facts.arguments.flatMap(({ names, args, withoutCapability }) =>
        without(withoutCapability) ? [allow(names, args)] : [],
      ),
    ],
  };
}

const seccompOf = (config: OciConfig): SeccompProfile => config.linux['seccomp'] as SeccompProfile;

for (const arch of ['x64', 'arm64'] as const) {
  test(`no system call is let through that Docker stops, with any one capability, on ${arch}`, () => {
    assert.deepEqual(weakerThan(seccompOf(ours([], arch)), dockerSeccomp(arch, defaultCapabilities)), []);
    for (const name of allCapabilities) {
      const reference = dockerSeccomp(arch, [...defaultCapabilities, name]);
      assert.deepEqual(weakerThan(seccompOf(ours([name], arch)), reference), [], name);
    }
  });
}

test('the comparison sees what is weaker', () => {
  const reference = dockerSeccomp('x64', defaultCapabilities);
  const plus = (...rules: SeccompRule[]): SeccompProfile => ({
    ...reference,
    syscalls: [...reference.syscalls, ...rules],
  });
  const action = 'SCMP_ACT_ALLOW';
  const rule = (names: string[], op?: string, value = 0, valueTwo = 0): SeccompRule => ({
    names,
    action,
    ...(op === undefined ? {} : { args: [{ index: 0, value, valueTwo, op }] }),
  });
  assert.deepEqual(weakerThan(reference, reference), []);
  const weaker: [SeccompProfile, RegExp][] = [
    [plus(rule(['mount'])), /^mount$/],
    [plus(rule(['socket'])), /^socket with argument 0 = 38$/],
    [plus(rule(['socket'], 'SCMP_CMP_GE', 38)), /^socket/],
    [plus(rule(['clone'], 'SCMP_CMP_EQ', 0x10000011)), /^clone/],
    [plus(rule(['clone'], 'SCMP_CMP_MASKED_EQ', 0x20000, 0)), /^clone/],
    [plus(rule(['clone'], 'SCMP_CMP_LT', 0x30000)), /^clone/],
    [plus(rule(['personality'], 'SCMP_CMP_NE', 0)), /^personality/],
    [plus({ names: ['kexec_load'], action: 'SCMP_ACT_LOG' }), /^kexec_load$/],
    [{ ...reference, defaultAction: 'SCMP_ACT_ALLOW' }, /no rule names/],
    [{ ...reference, architectures: ['SCMP_ARCH_MIPS'] }, /architecture/],
  ];
  for (const [profile, message] of weaker) assert.match(weakerThan(profile, reference).join('\n'), message);
});

test('what is harmless to lose is lost', () => {
  const names = new Set(
    seccompOf(ours()).syscalls.flatMap((rule) => (rule.action === 'SCMP_ACT_ALLOW' ? rule.names : [])),
  );
  const closed = 'add_key bpf fsopen init_module io_uring_enter io_uring_register io_uring_setup kexec_load keyctl';
  const also =
    'listmount mount open_by_handle_at perf_event_open pivot_root quotactl request_key setns statmount swapon';
  for (const name of `${closed} ${also} syslog umount2 unshare userfaultfd`.split(' '))
    assert.ok(!names.has(name), name);
  const sockets = seccompOf(ours()).syscalls.filter(({ names: [name] }) => name === 'socket');
  // AF_ALG, AF_NFC, AF_VSOCK
  for (const family of [38, 39, 40])
    assert.ok(
      !sockets.some(({ args }) => args?.some(({ op, value }) => (op.endsWith('LT') ? family < value : family > value))),
    );
});

test('capabilities, privileges and the order of dying', () => {
  const { process } = ours();
  for (const set of ['bounding', 'effective', 'permitted'] as const) {
    const extra = process.capabilities[set].filter((name) => !docker.dockerd.capabilities[set].includes(name.slice(4)));
    assert.deepEqual(extra, [], set);
  }
  assert.deepEqual(process.capabilities.inheritable, []);
  assert.deepEqual(process.capabilities.ambient, []);
  assert.ok(process.oomScoreAdj >= docker.dockerd.oomScoreAdj);
  assert.equal(ociConfig({ ...ociRequest, oomScoreAdjustment: 500 }).process.oomScoreAdj, 500);
});

test('every namespace that Docker separates is separate', () => {
  // Nothing that a container of ours may do could set the clocks of a time namespace, and runc knows them from 1.2 on only.
  const excused = new Set(['time']);
  const types = (ours().linux['namespaces'] as { type: string; path?: string }[]).map(({ type }) => type);
  const wanted = [...docker.dockerd.namespaces, ...docker.newest.namespaces].filter((type) => !excused.has(type));
  assert.deepEqual(
    [...new Set(wanted)].filter((type) => !types.includes(type)),
    [],
  );
  assert.ok(types.includes('user') && types.includes('cgroup'), 'stronger: ids and cgroups of its own');
  assert.ok(!defaultCapabilities.includes('SYS_TIME'));
});

test('what Docker hides is hidden, what it makes read-only is so', () => {
  const { maskedPaths, readonlyPaths } = ours().linux as { maskedPaths: string[]; readonlyPaths: string[] };
  const hidden = [...docker.dockerd.maskedPaths, ...docker.newest.maskedPaths];
  assert.deepEqual(
    hidden.filter((path) => !maskedPaths.includes(path)),
    [],
  );
  assert.deepEqual(
    docker.dockerd.readonlyPaths.filter((path) => !readonlyPaths.includes(path)),
    [],
  );
  for (const path of ociRequest.hostMaskedPaths) {
    assert.ok(maskedPaths.includes(path));
    assert.match(path, new RegExp(`^${docker.newest.maskedForEachProcessor.replace('%d', '\\d+')}$`));
  }
});

test('mounts have every option that restricts, and devices are Docker’s at most', () => {
  const mounts = new Map(ours().mounts.map((mount) => [mount.destination, mount]));
  const restricting = new Set(['ro', 'nosuid', 'nodev', 'noexec', 'newinstance']);
  for (const { destination, type, options } of docker.dockerd.mounts) {
    const own = mounts.get(destination);
    assert.equal(own?.type, type, destination);
    assert.deepEqual(
      options.filter((option) => restricting.has(option) && !own?.options.includes(option)),
      [],
      destination,
    );
    for (const option of options.filter((one) => /^(mode|size)=/.test(one)))
      assert.ok(own?.options.includes(option), `${destination} ${option}`);
  }
  const known = new Set(docker.dockerd.mounts.map(({ destination }) => destination));
  assert.deepEqual(
    [...mounts.keys()].filter((destination) => !known.has(destination)),
    [],
  );
  const { resources, devices } = ours().linux as { resources: { devices: DeviceRule[] }; devices?: unknown[] };
  assert.deepEqual(devices ?? [], docker.dockerd.devices);
  const key = ({ type, major, minor }: DeviceRule): string => `${type} ${major}:${minor}`;
  const allowed = new Set(docker.dockerd.deviceRules.filter(({ allow }) => allow).map(key));
  assert.deepEqual(resources.devices[0], { allow: false, access: 'rwm' });
  assert.deepEqual(
    resources.devices.filter((rule) => rule.allow && !allowed.has(key(rule))),
    [],
  );
});
