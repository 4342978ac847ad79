/** What opens the host is refused by the engine that was not opened with the risk, and works on the one that was. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { matchesGolden } from '#testing/golden.ts';

const golden = (name: string): string => fileURLToPath(new URL(`testdata/${name}`, import.meta.url));
/** Docker's own form of a profile; what it allows is what ours allows, but chmod. */
const strict = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: 1,
  archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] }],
  syscalls: [] as Record<string, unknown>[],
};

let scratch = '';
const profile = (name: string, content: unknown): string => {
  const file = join(scratch, name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
};

before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'risks-'));
  const standard = JSON.parse(readFileSync(new URL('../containers/seccomp.json', import.meta.url), 'utf8')) as {
    allow: string;
    architecture: Record<'x64' | 'arm64', string>;
  };
  const names = `${standard.allow} ${standard.architecture[process.arch === 'arm64' ? 'arm64' : 'x64']}`.split(' ');
  strict.syscalls = [
    { names: names.filter((name) => !/^f?chmod/.test(name)), action: 'SCMP_ACT_ALLOW' },
    { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
    {
      names: ['clone'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: 2114060288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    },
    { names: ['chroot'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
  ];
});
after(() => rmSync(scratch, { recursive: true, force: true }));

describe('an engine opened with no risk', { ...withDocker, timeout: 600_000 }, () => {
  let docker: DockerHost;
  let image = '';
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
  });
  after(() => docker[Symbol.asyncDispose]());

  test('refuses, and says which flag takes the risk', async () => {
    const looser = { ...strict, syscalls: [...strict.syscalls, { names: ['mount', 'bpf'], action: 'SCMP_ACT_ALLOW' }] };
    const refused: string[][] = [
      ['--privileged'],
      ['--pid', 'host'],
      ['--ipc', 'host'],
      ['--uts', 'host'],
      ['--userns', 'host'],
      ['--cgroupns', 'host'],
      ['--network', 'host'],
      ['--device', '/dev/kmsg'],
      ['--device', '/dev/../dev/kmsg:/dev/x:r'],
      ['-v', '/var/run/docker.sock:/var/run/docker.sock'],
      ['-v', '/:/host'],
      ['--security-opt', 'seccomp=unconfined'],
      ['--security-opt', 'systempaths=unconfined'],
      ['--security-opt', `seccomp=${profile('looser.json', looser)}`],
      ['--security-opt', `seccomp=${profile('open.json', { defaultAction: 'SCMP_ACT_ALLOW' })}`],
      ['--security-opt', `seccomp=${profile('list.json', '[]')}`],
      ['--security-opt', `seccomp=${profile('action.json', { defaultAction: 'SCMP_ACT_OPEN' })}`],
      [
        '--security-opt',
        `seccomp=${profile('twice.json', { ...strict, syscalls: [{ name: 'a', names: ['b'], action: 'SCMP_ACT_ALLOW' }] })}`,
      ],
      ['--security-opt', `seccomp=${profile('both.json', { ...strict, architectures: ['SCMP_ARCH_X86_64'] })}`],
      [
        '--security-opt',
        `seccomp=${profile('op.json', { ...strict, syscalls: [{ names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [{ index: 9, op: 'SCMP_CMP_EQ', value: 1 }] }] })}`,
      ],
      ['--security-opt', 'apparmor=some-profile'],
      ['--security-opt', 'nothing=known'],
      ['--security-opt', 'nothing'],
      ['--security-opt', 'no-new-privileges:perhaps'],
      ['--cap-add', 'SYS_NOTHING'],
    ];
    let text = '';
    for (const flags of refused) {
      const said = await docker.docker(['run', '--rm', ...flags, image, 'true']);
      assert.equal(said.code, 125, flags.join(' '));
      text += `${flags.join(' ').replaceAll(`${scratch}/`, '')}\n  ${said.stderr.trim().split('\n')[0]}\n`;
    }
    matchesGolden(golden('risks.golden'), text);
    assert.equal(await docker.ok('ps', '-aq'), '');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
    assert.doesNotMatch(await docker.ok('info'), /WARNING: whoever/);
  });

  test('takes a stricter profile', { skip: process.arch === 'x64' ? false : 'the profile is for x86_64' }, async () => {
    const file = profile('strict.json', strict);
    const script = 'touch /x && chmod 700 /x || echo refused';
    assert.match(
      await docker.ok('run', '--rm', '--security-opt', `seccomp=${file}`, image, 'sh', '-c', script),
      /refused/,
    );
    assert.doesNotMatch(await docker.ok('run', '--rm', image, 'sh', '-c', script), /refused/);
    assert.equal(
      await docker.ok('run', '--rm', '--security-opt', 'apparmor=unconfined', image, 'echo', 'as it is anyway'),
      'as it is anyway\n',
    );
  });
});

describe('an engine opened with every risk', { ...withDocker, timeout: 600_000 }, () => {
  let docker: DockerHost;
  let image = '';
  before(async () => {
    docker = await openDockerHost({ allowedRisks: ['privileged'], allowedDevices: ['/dev/loop-control'] });
    image = docker.host.image;
  });
  after(() => docker[Symbol.asyncDispose]());

  const run = async (flags: string[], script: string): Promise<string> =>
    (await docker.ok('run', '--rm', ...flags, image, 'sh', '-c', script)).trim();
  const inside = async (flags: string[], name: string): Promise<string> =>
    await run(flags, `readlink /proc/self/ns/${name}`);
  const here = (name: string): string => readlinkSync(`/proc/self/ns/${name}`);

  test('docker info warns', async () => {
    const said = await docker.docker(['info']);
    assert.match(`${said.stdout}${said.stderr}`, /WARNING: .* root on this host \(--allow-privileged\)/);
    assert.match(`${said.stdout}${said.stderr}`, /WARNING: .* \/dev\/loop-control \(--allow-device\)/);
  });

  test('--privileged is root on this host, with its devices', async () => {
    const facts = await run(
      ['--privileged'],
      'cat /proc/self/uid_map | tr -s " "; grep CapEff /proc/self/status | cut -f2; grep Seccomp: /proc/self/status | cut -f2; ls /dev/kmsg; mount -t tmpfs none /mnt 2>/dev/null || mkdir /m && mount -t tmpfs none /m && echo mounted; test -w /proc/sys/kernel/hostname && echo writable; ls -ld /proc/1/root >/dev/null && id -u',
    );
    const bounding = /CapBnd:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    assert.deepEqual(facts.split('\n'), ['0 0 4294967295', bounding, '0', '/dev/kmsg', 'mounted', 'writable', '0']);
    assert.equal(await inside(['--privileged'], 'user'), here('user'));
    assert.notEqual(await inside(['--privileged'], 'net'), here('net'));
    assert.notEqual(await inside(['--privileged'], 'pid'), here('pid'));
  });

  test('host namespaces are the host’s, and no others', async () => {
    const table: [flags: string[], shared: string[]][] = [
      [
        ['--pid', 'host'],
        ['pid', 'user'],
      ],
      [
        ['--ipc', 'host'],
        ['ipc', 'user'],
      ],
      [['--uts', 'host'], ['uts']],
      [['--userns', 'host'], ['user']],
      [
        ['--network', 'host'],
        ['net', 'user'],
      ],
      [['--cgroupns', 'host'], ['cgroup']],
    ];
    for (const [flags, shared] of table) {
      const script = 'for n in cgroup ipc net pid user uts; do readlink /proc/self/ns/$n; done';
      const found = (await run(flags, script)).split('\n');
      const same = ['cgroup', 'ipc', 'net', 'pid', 'user', 'uts'].filter((name) => found.includes(here(name)));
      assert.deepEqual(same, shared, flags.join(' '));
    }
    assert.equal(await run(['--uts', 'host'], 'hostname'), hostname());
    assert.equal(await run(['--network', 'host'], 'hostname'), hostname());
    assert.match(await run(['--pid', 'host'], `tr "\\0" " " < /proc/${process.pid}/cmdline`), /risks\.test\.ts/);
    assert.match(
      (await docker.docker(['run', '--rm', '--uts', 'host', '--hostname', 'x', image, 'true'])).stderr,
      /conflicting options: hostname and the UTS mode/,
    );
  });

  test('what is shared is shown, survives a restart of the engine, and leaves nothing', async () => {
    await docker.ok(
      'run',
      '-d',
      '--name',
      'shared',
      '--pid',
      'host',
      '--network',
      'host',
      image,
      'sh',
      '-c',
      'sleep 1000 & sleep 1000',
    );
    await docker.reopen();
    const format =
      '{{.HostConfig.PidMode}} {{.HostConfig.NetworkMode}} {{.HostConfig.UsernsMode}} {{.HostConfig.Privileged}} {{.State.Status}}';
    assert.equal((await docker.ok('inspect', '-f', format, 'shared')).trim(), 'host host host false running');
    assert.equal((await docker.ok('exec', 'shared', 'readlink', '/proc/self/ns/net')).trim(), here('net'));
    const pid = Number(await docker.ok('inspect', '-f', '{{.State.Pid}}', 'shared'));
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
    assert.equal(children.length, 1);
    await docker.ok('rm', '-f', 'shared');
    for (const child of children) assert.throws(() => readFileSync(`/proc/${child}/environ`), `${child} is left`);
  });

  test('a device is given, and is the container’s own', async () => {
    const script = 'ls -ln /dev/loops | tr -s " " | cut -d" " -f3,5,6; head -c 0 /dev/loops && echo readable';
    assert.equal(await run(['--device', '/dev/loop-control:/dev/loops:r'], script), '0 10, 237\nreadable');
    const writing = '(: > /dev/loops) 2>/dev/null && echo written || echo refused';
    assert.equal(await run(['--device', '/dev/loop-control:/dev/loops:r'], writing), 'refused');
    assert.equal(await run(['--device', '/dev/loop-control:/dev/loops'], writing), 'written');
    const zero = await run(['--device', '/dev/zero:/dev/nothing'], 'head -c 4 /dev/nothing | od -An -tx1');
    assert.equal(zero, '00 00 00 00');
    const missing = await docker.docker(['run', '--rm', '--device', '/dev/none-such', image, 'true']);
    assert.match(missing.stderr, /error gathering device information while adding custom device "\/dev\/none-such"/);
    const file = await docker.docker(['run', '--rm', '--device', '/etc/passwd', image, 'true']);
    assert.match(file.stderr, /not a device node/);
  });

  test('unconfined means it', async () => {
    const filter = 'grep Seccomp: /proc/self/status | cut -f2';
    assert.equal(await run(['--security-opt', 'seccomp=unconfined'], filter), '0');
    assert.equal(await run([], filter), '2');
    assert.equal(
      await run(['--security-opt', 'systempaths=unconfined'], 'grep -c " /proc/" /proc/self/mounts || true'),
      '0',
    );
    const open = profile('all.json', {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['chmod', 'fchmodat'], action: 'SCMP_ACT_ERRNO' }],
    });
    assert.equal(
      await run(['--security-opt', `seccomp=${open}`], 'touch /x; chmod 700 /x 2>/dev/null || echo refused'),
      'refused',
    );
  });
});
