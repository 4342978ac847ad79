import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fuzz } from './fuzz.ts';

const common = { name: 'sample', corpus: ['<a>1</a>'], inputs: 20_000 };

test('the same seed gives the same inputs, another seed others', async () => {
  const inputsOf = async (seed: number): Promise<string> => {
    const seen: string[] = [];
    await fuzz({ ...common, inputs: 200, seed, run: (input) => void seen.push(input.toString('latin1')) });
    return seen.join('\n');
  };
  assert.equal(await inputsOf(1), await inputsOf(1));
  assert.notEqual(await inputsOf(1), await inputsOf(2));
});

test('an error that is no refusal fails, and its input is kept in a file', async () => {
  const run = (input: Buffer): void => {
    if (input.includes('>>')) throw new TypeError('two of them');
    if (!input.includes('<')) throw new RangeError('none');
  };
  const error = await fuzz({ ...common, run, refuses: (cause) => cause instanceof RangeError }).then(
    () => undefined,
    (cause: unknown) => cause as Error,
  );
  assert.match(error?.message ?? '', /fuzz sample \(seed 1\): TypeError: two of them; the input is \//);
  const path = /the input is (\S+):/.exec(error?.message ?? '')?.[1] ?? '';
  assert.ok(readFileSync(path).includes('>>'));
});

test('new outcomes are bred from: depth is reached that chance alone does not reach', async () => {
  const run = (input: Buffer): string => {
    const text = input.toString('latin1');
    let depth = 0;
    while (depth < 5 && text[depth] === '~@~@~'[depth]) depth += 1;
    return String(depth);
  };
  const { outcomes, inputs } = await fuzz({ ...common, run, inputs: 60_000, dictionary: ['~', '@'] });
  assert.equal(inputs, 60_001);
  assert.ok(outcomes >= 5, `${outcomes} depths were reached`);
});

test('an input that takes too long fails', async () => {
  const run = (): void => {
    for (const begun = process.cpuUsage(); process.cpuUsage(begun).user < 20_000; ) continue;
  };
  await assert.rejects(fuzz({ ...common, run, slowMilliseconds: 10 }), /it took \d+ ms/);
});
