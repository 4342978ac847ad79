import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { StagingError } from '../staging.ts';
import { tellBuild } from './output.ts';

/** What is told of these documents, which come in small pieces. */
async function told(documents: object[]): Promise<string[]> {
  const bytes = Buffer.from(documents.map((document) => `${JSON.stringify(document)}\r\n`).join(''));
  const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, at) => bytes.subarray(at * 7, at * 7 + 7));
  const lines: string[] = [];
  await tellBuild(Readable.from(pieces), (line) => lines.push(line));
  return lines;
}

test('lines are whole, however the build says them', async () => {
  const lines = await told([
    { stream: 'Step 1/2 : FR' },
    { stream: 'OM x\nfetching 10%\rfetching 100%\r' },
    { stream: '\n\u001b[32mgreen\u001b[0m\n' },
    { status: 'Pulling from x' },
    { status: 'Downloading', id: 'layer', progressDetail: { current: 1 } },
    { stream: '[Warning] One or more build-args [A] were not consumed\n' },
    { stream: 'the last has no end' },
  ]);
  assert.deepEqual(lines, ['Step 1/2 : FROM x', 'fetching 100%', 'green', 'Pulling from x', 'the last has no end']);
});

test('a failure has the last lines, also the one that was not at its end', async () => {
  const documents = [{ stream: 'one\ntwo' }, { error: 'boom', errorDetail: { message: 'it went boom' } }];
  await assert.rejects(told(documents), (error) => {
    assert.ok(error instanceof StagingError);
    assert.equal(error.code, 'build-failed');
    assert.equal(error.message, 'it went boom; its last lines:\none\ntwo');
    return true;
  });
});
