import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CloudFoundryError } from '../errors.ts';
import { receiveUpload } from './upload.ts';

test('upload: limits hold, a client that goes away leaves nothing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-upload-'));
  let outcome = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    const work = async () => {
      await using upload = await receiveUpload(request, {
        directory,
        fileFields: ['bits'],
        maxBytes: 10_000,
        signal: new AbortController().signal,
      });
      return `${upload.file === undefined ? 'no file' : 'a file'}, ${[...upload.fields.keys()].join()}`;
    };
    work()
      .catch((error: unknown) => (error instanceof CloudFoundryError ? error.message : `crash ${String(error)}`))
      .then((text) => {
        outcome.resolve(text);
        response.end(text);
      });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const post = async (bytes: number) => {
    const form = new FormData();
    form.set('resources', '[]');
    form.set('bits', new Blob([Buffer.alloc(bytes)]), 'package.zip');
    return (await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: form })).text();
  };
  try {
    assert.equal(await post(5_000), 'a file, resources');
    assert.match(await post(20_000), /it is larger than/);
    assert.match(await post(5_000_000), /it is larger than/, 'the answer comes although the client still sends');
    outcome = Promise.withResolvers<string>();
    const half = send({
      port,
      host: '127.0.0.1',
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x', 'content-length': 1000 },
    });
    half.on('error', () => undefined);
    half.write('--x\r\ncontent-disposition: form-data; name="bits"; filename="a"\r\n\r\nsome bytes', () =>
      half.destroy(),
    );
    assert.match(await outcome.promise, /ended early/);
    assert.deepEqual(await readdir(directory), []);
  } finally {
    server.close();
    server.closeAllConnections();
    await rm(directory, { recursive: true });
  }
});
