/** The command itself, on the machine that runs the tests. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Finished, finish } from '#testing/platform.ts';
import type { Finding } from './requirements.ts';

const entry = join(import.meta.dirname, '..', 'sampan.ts');
const directory = mkdtempSync(join(tmpdir(), 'sampan-doctor-'));
chmodSync(directory, 0o755);
const data = join(directory, 'data');

interface Report {
  ok: boolean;
  findings: Finding[];
}

function sampan(words: string[], prefix: string[] = []): Promise<Finished> {
  const [program = '', ...rest] = [...prefix, process.execPath, '--experimental-ffi', '--no-warnings', entry, ...words];
  return finish(program, rest, { env: { ...process.env, SAMPAN_NAME: 'doctor-test', SAMPAN_DATA: data } });
}

const report = (result: Finished): Report => JSON.parse(result.stdout) as Report;
const level = ({ findings }: Report, name: string): string | undefined =>
  findings.find((finding) => finding.name === name)?.level;

after(() => rmSync(directory, { recursive: true, force: true }));

describe('doctor', () => {
  before(async () => {
    const fixed = await sampan(['doctor', '--fix']);
    assert.equal(fixed.code, 0, `${fixed.stdout}${fixed.stderr}`);
  });

  test('a machine that runs the tests can run Sampan; asking again installs nothing', async () => {
    const result = await sampan(['doctor', '--fix', '--json']);
    assert.equal(result.code, 0, result.stdout);
    assert.equal(result.stderr, '');
    const { ok, findings } = report(result);
    assert.equal(ok, true);
    assert.deepEqual(
      findings.map(({ name }) => name),
      [
        'system, distribution, root, kernel, privileges, cgroups, cgroup controllers, overlayfs, ext4, user namespaces',
        'loop devices, packages, CA bundle, data directory, disk, memory, ports, open files, name resolution',
      ].flatMap((line) => line.split(', ')),
    );
    for (const finding of findings) {
      assert.notEqual(finding.found, '', `${finding.name} says what was found`);
      assert.equal(finding.remedy === '', finding.level === 'ok', `${finding.name} has a remedy where it is not met`);
    }
    assert.ok(!existsSync(data), 'it only looks');
  });

  test('names that do not resolve: the line for the hosts file', async () => {
    const result = await sampan(['--domain', 'nowhere.invalid', 'doctor']);
    assert.equal(result.code, 0, 'a warning does not fail it');
    assert.match(result.stdout, /! name resolution +no address for api\.nowhere\.invalid, uaa/);
    assert.match(
      result.stdout,
      /Add to \/etc\/hosts: 127\.0\.0\.1 api\.nowhere\.invalid uaa\.nowhere\.invalid login\.nowhere\.invalid log-cache\.nowhere\.invalid ssh\.nowhere\.invalid$/m,
    );
  });

  test('a port that another program has, asked for by flag: doctor says so, and up changes nothing', async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, done));
    const { port } = server.address() as AddressInfo;
    try {
      const result = await sampan(['--http', String(port), 'doctor', '--json']);
      assert.equal(result.code, 1);
      assert.deepEqual([report(result).ok, level(report(result), 'ports')], [false, 'error']);
      const up = await sampan(['--http', String(port), 'up']);
      assert.equal(up.code, 1);
      assert.match(up.stderr, new RegExp(`ports: ${port} \\(--http\\) is taken\\.\n {2}remedy: Stop the program`));
      assert.ok(!existsSync(data) && !existsSync('/run/sampan/doctor-test'));
    } finally {
      server.close();
    }
  });

  test('without root, and without the right to mount', async () => {
    const user = await sampan(['doctor', '--json'], ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']);
    assert.equal(user.code, 1, user.stderr);
    assert.equal(level(report(user), 'root'), 'error');
    const caged = await sampan(['up'], ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin', '--']);
    assert.equal(caged.code, 1);
    assert.match(caged.stderr, /privileges: may not mount\.\n {2}remedy: This looks like an unprivileged container/);
    assert.ok(!existsSync(data));
  });
});
