/** The bootstrap on a minimal Debian, as a root directory of its own: no curl, no CA bundle, no libatomic, no Node. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Finished, finish } from '#testing/platform.ts';
import { makeSourceDisk } from '#testing/fresh-machine/image.ts';

const checkout = join(import.meta.dirname, '..');

describe('a minimal Debian', { concurrency: 1, timeout: 1_800_000 }, () => {
  const directory = mkdtempSync('/var/tmp/sampan-minimal-');
  const root = join(directory, 'root');
  const ownCa = process.env.NODE_EXTRA_CA_CERTS;

  /** Runs sh in there. Its mounts are of a namespace of their own and end with it. */
  const inside = (script: string): Promise<Finished> =>
    finish(
      'unshare',
      [
        ...['--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec'],
        'mount --rbind /dev "$1/dev"; mount -t proc proc "$1/proc"; exec chroot "$1" sh -c "$2"',
        ...['sh', root, `cd /srv/sampan; ${script}`],
      ],
      {
        env: {
          PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
          HOME: '/root',
          ...(ownCa ? { NODE_EXTRA_CA_CERTS: '/srv/ca.pem' } : {}),
        },
        timeout: 900_000,
      },
    );

  before(async () => {
    const made = await finish('mmdebstrap', ['--quiet', '--mode=root', '--variant=minbase', 'bookworm', root], {
      env: process.env,
    });
    assert.equal(made.code, 0, made.stderr);
    mkdirSync(join(root, 'srv/sampan'));
    if (ownCa) copyFileSync(ownCa, join(root, 'srv/ca.pem'));
    const tar = await makeSourceDisk(checkout, join(directory, 'source.tar'));
    assert.equal((await finish('tar', ['-C', join(root, 'srv/sampan'), '-xf', tar])).code, 0);
    assert.equal((await finish('chown', ['-R', '1234:1234', join(root, 'srv/sampan')])).code, 0);
    assert.ok(!existsSync(join(root, 'usr/bin/curl')) && !existsSync(join(root, 'etc/ssl/certs')));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  test('another user cannot install it, and is told so before anything changes', async () => {
    const result = await inside('setpriv --reuid=65534 --regid=65534 --clear-groups ./sampan version');
    assert.equal(result.code, 1);
    assert.match(
      result.stderr,
      /^sampan: Node [\d.]+ is not installed, and .* cannot be written\.\n {2}remedy: Run it once as root/,
    );
    assert.ok(!existsSync(join(root, 'usr/local/lib/sampan')));
  });

  test('two at the same time, without a terminal: both work, and what they need is installed once', async () => {
    const result = await inside('./sampan version >/tmp/one 2>&1 & ./sampan version; wait $! && cat /tmp/one');
    assert.equal(result.code, 0, `${result.stdout}${result.stderr}`);
    const said = `${result.stdout}${result.stderr}`;
    assert.equal(said.match(/^sampan \d+\.\d+\.\d+ \(Node v26/gm)?.length, 2, said);
    for (const step of [
      'installing libatomic1',
      'installing curl ca-certificates',
      'fetching node-linux',
      'installing npm packages',
    ])
      assert.equal(said.split(step).length, 2, `${step} once: ${said}`);
    assert.ok(!existsSync(join(root, 'usr/bin/node')), "the system's own Node is not touched");
    assert.equal(statSync(join(root, 'srv/sampan/node_modules/commander')).uid, 1234);
    assert.ok(!existsSync(join(root, 'srv/sampan/node_modules/typescript')), 'only what a role needs');
  });

  test('again: nothing is installed, and another user can run it', async () => {
    const result = await inside(
      './sampan version && setpriv --reuid=65534 --regid=65534 --clear-groups ./sampan version',
    );
    assert.equal(result.code, 0, result.stderr);
    assert.equal(result.stderr, '');
  });

  test('doctor --fix installs the packages of the roles, and enables none of their services', async () => {
    const result = await inside('./sampan doctor --fix --json');
    assert.match(result.stdout, /^\{/, result.stderr);
    const report = JSON.parse(result.stdout) as { findings: { name: string; level: string }[] };
    const level = (name: string): string | undefined => report.findings.find((finding) => finding.name === name)?.level;
    assert.deepEqual([level('packages'), level('CA bundle')], ['ok', 'ok'], `${result.stdout}${result.stderr}`);
    assert.ok(existsSync(join(root, 'usr/sbin/haproxy')));
    assert.deepEqual(
      ['etc/systemd/system/multi-user.target.wants', 'etc/rc3.d', 'etc/rc5.d']
        .flatMap((name) => (existsSync(join(root, name)) ? readdirSync(join(root, name)) : []))
        .filter((name) => /^S?\d*(haproxy|nftables|nats)/.test(name)),
      [],
    );
    assert.ok(!existsSync(join(root, 'usr/sbin/policy-rc.d')));
  });
});
