import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KubeconfigError, readKubeconfig } from './kubeconfig.ts';

describe('kubeconfig', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sampan-kubeconfig-'));
  });
  after(() => rm(directory, { recursive: true }));

  const write = async (user: string, cluster = ''): Promise<string> => {
    const path = join(directory, 'config');
    await writeFile(
      path,
      `apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: u, namespace: space}}
- {name: two, context: {cluster: c}}
- {name: broken, context: {cluster: none}}
clusters:
- {name: c, cluster: {server: "https://host:6443/base"${cluster}}}
users:
- {name: u, user: {${user}}}
`,
    );
    return path;
  };

  it('reads certificates from the file and from files beside it', async () => {
    await writeFile(join(directory, 'ca.pem'), 'CA');
    const encode = (text: string): string => Buffer.from(text).toString('base64');
    const path = await write(
      `client-certificate-data: ${encode('CERT')}, client-key-data: ${encode('KEY')}`,
      ', certificate-authority: ca.pem',
    );
    assert.deepEqual(await readKubeconfig(path), {
      transport: { url: 'https://host:6443/base', ca: 'CA', certificate: 'CERT', key: 'KEY' },
      namespace: 'space',
    });
    assert.deepEqual(await readKubeconfig(path, 'two'), {
      transport: { url: 'https://host:6443/base', ca: 'CA' },
      namespace: 'default',
    });
  });

  it('reads tokens, from a file anew each time', async () => {
    assert.equal((await readKubeconfig(await write('token: secret'))).transport.token, 'secret');
    const path = await write('tokenFile: token');
    await writeFile(join(directory, 'token'), 'first\n');
    const { token } = (await readKubeconfig(path)).transport;
    assert.ok(typeof token === 'function');
    assert.equal(await token(), 'first');
    await writeFile(join(directory, 'token'), 'second\n');
    assert.equal(await token(), 'second');
  });

  it('says what it cannot use', async () => {
    const fails = (path: string, message: RegExp, context?: string) =>
      assert.rejects(
        readKubeconfig(path, context),
        (error: unknown) => error instanceof KubeconfigError && message.test(error.message),
      );
    await fails(join(directory, 'missing'), /ENOENT/);
    await fails(await write(''), /no context "nine" in contexts/, 'nine');
    await fails(await write(''), /no cluster "none" in clusters/, 'broken');
    await fails(await write('exec: {command: x}'), /exec is not supported: use a certificate or a token/);
    await fails(await write('', ', insecure-skip-tls-verify: true'), /give the cluster a certificate-authority/);
    await fails(await write('client-key-data: eA=='), /belong together/);
    await fails(await write('token: [', ''), /./);
  });
});
