import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask } from './ask.ts';

const fixture = join(import.meta.dirname, 'ask.fixture.ts');

/** Everything that the terminal shows while somebody types `answer` at the question. */
async function shown(kind: 'hidden' | 'plain', answer: string): Promise<string> {
  const command = `'${process.execPath}' '${fixture}' ${kind}`;
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let text = '';
  let isAnswered = false;
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (isAnswered || !text.includes('Password: ')) continue;
    isAnswered = true;
    child.stdin.write(`${answer}\r`);
  }
  assert.deepEqual(await closed, [0, null], text);
  return text;
}

test('what is typed at a hidden question is read and not shown', { timeout: 60_000 }, async () => {
  const text = await shown('hidden', 'tops3cret');
  assert.match(text, /9 characters/);
  assert.doesNotMatch(text, /s3cret/);
});

test('what is typed at any other question is shown', { timeout: 60_000 }, async () => {
  assert.match(await shown('plain', 'a name'), /a name[\s\S]*6 characters/);
});

test('without a terminal nobody is asked, and the remedy says what to do instead', async () => {
  const { isTTY } = process.stdin;
  process.stdin.isTTY = false;
  try {
    await assert.rejects(
      ask({ text: 'User: ', remedy: 'Give -u NAME.' }),
      /no terminal to ask "User:" on.\n.*Give -u NAME/,
    );
  } finally {
    process.stdin.isTTY = isTTY;
  }
});
