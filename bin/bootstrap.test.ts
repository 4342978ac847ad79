import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BootstrapCheckout, TestRegistry, scriptPath } from '#testing/bootstrap-checkout.ts';
import { matchesGolden } from '#testing/golden.ts';

const golden = (name: string, text: string): void =>
  matchesGolden(join(import.meta.dirname, 'testdata', `bootstrap-${name}.txt`), text);

interface Started {
  words: string[];
  noProxy?: string;
  NO_PROXY?: string;
}

test('the bootstrap is POSIX sh', () => {
  for (const [shell, ...words] of [['dash'], ['bash', '--posix']])
    execFileSync(shell ?? '', [...words, '-n', scriptPath]);
  assert.doesNotMatch(readFileSync(scriptPath, 'utf8'), /^\s*(local|function) |(^|\s)\[\[ |<<</m);
});

describe('refusals: one clear error, and nothing was changed', () => {
  const refused = async (
    name: string,
    words: string[],
    prepare: (checkout: BootstrapCheckout) => Parameters<BootstrapCheckout['run']>[1],
    tidy = (text: string) => text,
  ): Promise<void> => {
    using checkout = new BootstrapCheckout({ node: false });
    const result = await checkout.run(words, prepare(checkout));
    assert.equal(result.code, 1, result.stdout);
    assert.equal(result.stdout, '');
    golden(name, tidy(result.stderr.replaceAll(checkout.directory, 'DIRECTORY')));
    assert.deepEqual(readdirSync(checkout.tools), []);
    assert.ok(!existsSync(join(checkout.path, 'node_modules')));
  };

  test('not Linux', () =>
    refused('not-linux', ['quickstart'], (checkout) => {
      checkout.stub('uname', 'case $1 in -s) echo Darwin ;; -m) echo arm64 ;; esac');
      return {};
    }));
  test('a processor without a Node', () =>
    refused('architecture', ['quickstart'], (checkout) => {
      checkout.stub('uname', 'case $1 in -s) echo Linux ;; -m) echo riscv64 ;; esac');
      return {};
    }));
  test('not root', () => refused('not-root', ['quickstart'], () => ({ uid: 65534 })));
  test('not root, and nothing installed', () => refused('tools', ['version'], () => ({ uid: 65534 })));
  test('an old kernel', () =>
    refused('old-kernel', ['quickstart'], (checkout) => {
      checkout.stub('uname', 'case $1 in -r) echo 5.10.0-34-amd64 ;; *) exec /usr/bin/uname "$@" ;; esac');
      return {};
    }));
  test('an unprivileged container', () =>
    refused('unprivileged', ['up'], () => ({
      via: ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin', '--'],
    })));
  test('a full disk', () =>
    refused('full-disk', ['up', '--data', '/var/lib/sampan'], (checkout) => {
      checkout.stub(
        'df',
        'printf "Filesystem 1024-blocks Used Available Capacity Mounted on\\n/dev/vda1 10000000 8000000 1572864 84%% /\\n"',
      );
      return {};
    }));
  test('a taken port', async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    try {
      await refused(
        'taken-port',
        [`--http=${port}`, 'up'],
        () => ({}),
        (text) => text.replaceAll(String(port), 'PORT'),
      );
    } finally {
      server.close();
    }
  });
});

describe('npm packages', () => {
  test('are installed once, without scripts, and by a name that another directory and a link reach', async () => {
    using checkout = new BootstrapCheckout();
    using registry = new TestRegistry(checkout.tarball);
    const env = { npm_config_registry: `${await registry.listen()}/mirror/`, CDPATH: '/usr:/' };
    const first = await checkout.run(['apps', '--json'], { env });
    assert.equal(first.code, 0, first.stderr);
    assert.deepEqual((JSON.parse(first.stdout) as Started).words, ['apps', '--json']);
    assert.match(registry.asked[0]?.url ?? '', /^\/mirror\/npm\/-\/npm-[\d.]+\.tgz$/);
    assert.match(checkout.runsOfNpm()[0] ?? '', /^ci --ignore-scripts .*--omit=dev$/);
    assert.ok(existsSync(join(checkout.path, 'node_modules/installed/index.js')));

    symlinkSync('checkout/sampan', join(checkout.directory, 'link'));
    const linked = execFileSync(join(checkout.directory, 'link'), ['status'], {
      env: checkout.environment(),
      cwd: '/',
    });
    assert.deepEqual((JSON.parse(linked.toString()) as Started).words, ['status']);
    // Another user, who can write nothing, runs what is there.
    const other = await checkout.run(['push', 'test'], { uid: 65534 });
    assert.equal(other.code, 0, other.stderr);
    assert.equal(checkout.runsOfNpm().length, 1);

    const tests = await checkout.run(['--name', 'x', 'test', 'lib'], { env });
    assert.equal(tests.code, 0, tests.stderr);
    assert.doesNotMatch(checkout.runsOfNpm()[1] ?? '--omit', /--omit/);
    checkout.put('checkout/package-lock.json', '{ "changed": true }');
    await checkout.run(['apps'], { env });
    assert.doesNotMatch(checkout.runsOfNpm()[2] ?? '--omit', /--omit/, 'what a developer has is not taken away');
    assert.equal(registry.asked.length, 1);
  });

  test('two bootstraps at the same time install once', async () => {
    using checkout = new BootstrapCheckout();
    using registry = new TestRegistry(checkout.tarball);
    const env = { npm_config_registry: await registry.listen() };
    const results = await Promise.all([1, 2, 3].map(() => checkout.run(['apps'], { env })));
    assert.deepEqual(
      results.map(({ code }) => code),
      [0, 0, 0],
    );
    assert.deepEqual([registry.asked.length, checkout.runsOfNpm().length], [1, 1]);
  });

  test('interrupted half-way: nothing half-made stays, and the next one works', async () => {
    using checkout = new BootstrapCheckout();
    using registry = new TestRegistry(checkout.tarball);
    const env = { npm_config_registry: await registry.listen() };
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      registry.stalls = true;
      const asked = registry.request();
      const { child, finished } = checkout.start(['apps'], { env, via: ['setsid'] });
      await asked;
      process.kill(-(child.pid ?? 0), signal);
      assert.notEqual((await finished).code, 0);
    }
    assert.deepEqual(
      readdirSync(checkout.tools).filter((name) => !name.startsWith('node-')),
      [],
    );
    registry.stalls = false;
    const failed = await checkout.run(['apps'], { env: { ...env, NPM_FAILS: '1' } });
    assert.equal(failed.code, 1);
    golden('npm-fails', failed.stderr);
    const result = await checkout.run(['apps'], { env });
    assert.equal(result.code, 0, result.stderr);
    assert.deepEqual(readdirSync(join(checkout.path, 'node_modules')).sort(), ['.sampan-production', 'installed']);
    assert.deepEqual(readdirSync(checkout.path).sort(), [
      'bin',
      'node_modules',
      'package-lock.json',
      'package.json',
      'sampan',
    ]);
  });

  test('in a checkout of another user, they are that user’s', async () => {
    using checkout = new BootstrapCheckout();
    using registry = new TestRegistry(checkout.tarball);
    chownSync(checkout.path, 1234, 1234);
    const result = await checkout.run(['apps'], { env: { npm_config_registry: await registry.listen() } });
    assert.equal(result.code, 0, result.stderr);
    assert.equal(statSync(join(checkout.path, 'node_modules/installed/index.js')).uid, 1234);
  });
});

describe('the way to the registry', () => {
  test('a package that is not what was pinned is refused', async () => {
    using checkout = new BootstrapCheckout();
    using registry = new TestRegistry(Buffer.from('something else'));
    const result = await checkout.run(['apps'], { env: { npm_config_registry: await registry.listen() } });
    assert.equal(result.code, 1);
    golden('wrong-digest', result.stderr);
    assert.ok(!readdirSync(checkout.tools).some((name) => /npm/.test(name)));
  });

  test('.npmrc: registry, token by a variable', async () => {
    using checkout = new BootstrapCheckout();
    using registry = new TestRegistry(checkout.tarball);
    const url = await registry.listen();
    checkout.put(
      'home/.npmrc',
      `# mine\nregistry = "${url}/private/"\n${url.slice('http:'.length)}/private/:_authToken=\${TOKEN}\n`,
    );
    const result = await checkout.run(['apps'], { env: { TOKEN: 'let-me-in' } });
    assert.equal(result.code, 0, result.stderr);
    assert.match(registry.asked[0]?.url ?? '', /^\/private\/npm\//);
    assert.equal(registry.asked[0]?.headers.authorization, 'Bearer let-me-in');
  });

  test('the proxy is asked for what is outside, and never for our own addresses', async () => {
    using checkout = new BootstrapCheckout();
    using proxy = new TestRegistry(checkout.tarball);
    const proxyUrl = await proxy.listen();
    const outside = {
      http_proxy: proxyUrl,
      NO_PROXY: '.corp.example',
      npm_config_registry: 'http://registry.invalid/',
    };
    const result = await checkout.run(['apps'], { env: outside });
    assert.equal(result.code, 0, result.stderr);
    assert.match(proxy.asked[0]?.url ?? '', /^http:\/\/registry\.invalid\/npm\//);
    const own = '.corp.example,localhost,127.0.0.1,::1,.localhost';
    const { noProxy, NO_PROXY } = JSON.parse(result.stdout) as Started;
    assert.deepEqual([noProxy, NO_PROXY], [own, own]);

    using second = new BootstrapCheckout();
    using registry = new TestRegistry(second.tarball);
    const inside = { http_proxy: proxyUrl, npm_config_registry: await registry.listen() };
    assert.equal((await second.run(['apps'], { env: inside })).code, 0);
    assert.deepEqual([proxy.asked.length, registry.asked.length], [1, 1]);
  });

  test('certificates that cannot be read are named', async () => {
    using checkout = new BootstrapCheckout();
    const result = await checkout.run(['apps'], { env: { npm_config_cafile: '/nowhere/ca.pem' } });
    assert.equal(result.code, 1);
    golden('ca-file', result.stderr);
  });
});

test('without curl, apt installs it: waiting for locks, asking nothing, without recommends', async () => {
  using checkout = new BootstrapCheckout();
  using registry = new TestRegistry(checkout.tarball);
  // The machine's own commands but curl; an apt-get that brings it, whose lists are locked at first.
  const bin = join(checkout.directory, 'bin');
  mkdirSync(bin);
  for (const name of readdirSync('/usr/bin').filter((name) => name !== 'curl' && name !== 'apt-get'))
    symlinkSync(join('/usr/bin', name), join(bin, name));
  checkout.stub('sleep', ':');
  checkout.stub(
    'apt-get',
    `echo "$DEBIAN_FRONTEND $*" >>${checkout.directory}/apt-runs
case $* in
*update*) [ -e ${checkout.directory}/locked ] || { touch ${checkout.directory}/locked; echo "E: Could not get lock /var/lib/apt/lists/lock." >&2; exit 100; } ;;
*install*) ln -s /usr/bin/curl ${bin}/curl ;;
esac`,
  );
  const env = { npm_config_registry: await registry.listen(), PATH: `${join(checkout.directory, 'stubs')}:${bin}` };
  const result = await checkout.run(['apps'], { env });
  assert.equal(result.code, 0, result.stderr);
  const runs = readFileSync(join(checkout.directory, 'apt-runs'), 'utf8').trim().split('\n');
  assert.equal(runs.filter((run) => run.includes('update')).length, 2);
  assert.match(
    runs.at(-1) ?? '',
    /^noninteractive .*DPkg::Lock::Timeout=300 .*--no-install-recommends install curl ca-certificates$/,
  );
});
