/**
 * The two commands on a fresh machine: a minimal Debian with systemd and nothing but cgroup v2, booted under qemu from
 * Debian's own kernel. Emulated, so each step takes minutes where a machine takes seconds: no time is judged here.
 *
 *   npm run test:long -- fresh-machine      the variables that testing/fresh-machine/boot.ts tells of hold
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { bootMachine, progress, whyNoMachine } from '#testing/fresh-machine/boot.ts';
import type { Machine } from '#testing/fresh-machine/machine.ts';

/** Process ids in the guest by a part of their command line, sorted. */
const pidsOf = (mark: string): string =>
  `for p in /proc/[0-9]*; do tr '\\0' ' ' 2>/dev/null <$p/cmdline | grep -q '${mark}' && echo \${p#/proc/}; done | sort -n`;
const roles = ['server', 'agent', 'platform'];
const units = roles.map((role) => `sampan-sampan-${role}.service`);
const askHello = 'curl -sf --max-time 20 --resolve hello.sampan.localhost:80:127.0.0.1 http://hello.sampan.localhost/';
const listContainers = 'runc --root /run/sampan/sampan/engine/runtime list -q | sort';
/** Waits in the guest for the app's answer. */
const served = (seconds: number): string =>
  `end=$(($(date +%s) + ${seconds})); until ${askHello}; do [ $(date +%s) -lt $end ] || exit 1; sleep 1; done`;

describe('a fresh machine', { concurrency: 1, timeout: 5_400_000, skip: whyNoMachine() }, () => {
  const directory = mkdtempSync('/var/tmp/sampan-fresh-');
  let machine: Machine;
  let containers = '';

  before(async () => {
    machine = await bootMachine(directory, progress);
  });
  after(async () => {
    await machine?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** As the commands of a person in the checkout. */
  const must = (script: string, seconds?: number): Promise<string> =>
    machine.must(`cd /opt/sampan\n${script}`, seconds);

  test('it is what it should be: systemd, cgroup v2 alone, no curl, no CA bundle, no Node', async () => {
    await must(
      '[ -d /run/systemd/system ] && grep -q "^cgroup2 /sys/fs/cgroup " /proc/mounts && ! grep -q "^cgroup " /proc/mounts',
    );
    await must(
      'for c in curl node npm wget; do ! command -v $c || exit 1; done; [ ! -e /etc/ssl/certs/ca-certificates.crt ]',
    );
  });

  test('doctor says what is missing, and starts nothing', async () => {
    const { code, output } = await machine.run('cd /opt/sampan; ./sampan doctor', 1800);
    assert.equal(code, 1, output);
    assert.match(output, /✓ cgroups +v2/);
    assert.match(output, /✗ packages +missing: .*runc/);
    assert.doesNotMatch(output, /✗ (?!packages)/);
    await must('[ ! -e /var/lib/sampan ]');
  });

  test('quickstart pushes the example and shows it', async () => {
    const output = await must('./sampan quickstart', 3600);
    const line = /^\s*try\s+(curl .*)$/m.exec(output)?.[1];
    assert.ok(line, output);
    assert.match(await must(`${line} -sf`), /Hello/);
    assert.match(
      await must(
        'for verb in is-active is-enabled; do systemctl $verb haproxy.service nats-server.service; done; true',
      ),
      /^inactive\ninactive\ndisabled\ndisabled\s*$/,
    );
    await must(`systemctl is-active ${units.join(' ')} && systemctl is-enabled ${units.join(' ')}`);
    containers = await must(listContainers);
    assert.notEqual(containers, '');
  });

  test('quickstart again: the same processes, the same containers', async () => {
    const before = await must(pidsOf('sampan.ts role'));
    await must('./sampan quickstart', 900);
    assert.equal(await must(pidsOf('sampan.ts role')), before);
    assert.equal(await must(listContainers), containers);
  });

  test('the units restarted, and killed: HAProxy, conmon and the app go on', async () => {
    const outside = `${pidsOf('^[^ ]*conmon ')}; ${pidsOf('^[^ ]*haproxy ')}`;
    const before = await must(outside);
    assert.match(before, /\d+\n\d+/);
    await must(`systemctl restart ${units.join(' ')} && ${askHello}`, 300);
    await must('./sampan up', 600);
    await must(`systemctl kill --signal=KILL --kill-who=main ${units.join(' ')} && ${askHello}`, 300);
    await must('./sampan up', 600);
    assert.equal(await must(outside), before);
    assert.equal(await must(listContainers), containers);
    await must(askHello);
  });

  test('main parts of the test command pass on cgroup v2', async () => {
    const output = await must('./sampan test lib bin/doctor engine/containers engine/network', 3600);
    assert.match(output, /^\d+ passed, 0 failed, \d+ skipped$/m);
    assert.match(
      await must('systemctl is-enabled docker.service docker.socket containerd.service; true'),
      /^(disabled\n?){3}$/,
    );
  });

  test('a reboot: the units bring the app back without a push', async () => {
    progress('rebooting');
    await machine.reboot(1200);
    assert.match(await must(served(900), 1000), /Hello/);
    // Apps serve before the whole platform is up: routes come from what was kept.
    await must("until ./sampan status | grep ': ready$'; do sleep 2; done", 900);
  });

  test('down --purge leaves nothing', async () => {
    await must('./sampan down --purge', 900);
    const left = await must(`
ls -d /var/lib/sampan /run/sampan/sampan /etc/systemd/system/sampan-* 2>/dev/null
systemctl list-units --all --plain --no-legend 'sampan-*'
grep sampan /proc/mounts | grep -v ' /opt/'
losetup --list --noheadings
nft list tables | grep sampan
ls /sys/class/net | grep -v -x -e lo -e eth0
find /sys/fs/cgroup -maxdepth 3 -type d -name '*sampan*'
ip -o route | grep -v eth0
${pidsOf('/var/lib/sampan\\|/run/sampan\\|sampan.ts role')}
true`);
    assert.equal(left.trim(), '');
  });
});
