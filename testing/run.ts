/**
 * Runs every test and says how many passed, failed and were skipped; the exit status is 1 when one failed, when nothing
 * ran, or when a test was skipped that `testing/allowed-skips` does not name.
 *
 *   node testing/run.ts [--long] [PATH …]     a PATH is a file, a folder, or a part of the path of test files, such as
 *                                             `fresh-machine`; a file's tests run one after another
 *
 * `*.long.test.ts` run only with --long, one at a time. Files of `test/` need a whole platform and run after the others.
 *
 * Where everything is run, up to three files that failed are run once more, alone. What fails then has failed; what
 * passes then is named as unstable, with what it said first: a race to find, in the test or in what it tests.
 */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { prepareMachine } from './prepare-machine.ts';

const root = join(import.meta.dirname, '..');
const words = process.argv.slice(2);
const long = words.includes('--long');
const wanted = words.filter((word) => !word.startsWith('--'));

const rooms = ['lib', 'engine', 'cluster', 'platform', 'cli', 'bin', 'tools', 'testing', 'test'];

function testFiles(): string[] {
  if (wanted.length === 0) return rooms.flatMap(filesBelow);
  const chosen = wanted.flatMap((word) => {
    const info = statSync(join(root, word), { throwIfNoEntry: false });
    if (info?.isFile()) return [join(root, word)];
    const found = info
      ? filesBelow(word)
      : rooms.flatMap(filesBelow).filter((file) => relative(root, file).includes(word));
    if (found.length === 0)
      console.log(`No test file is named by ${word}${long ? '' : ' (long ones run with --long)'}.`);
    return found;
  });
  return [...new Set(chosen)];
}

function filesBelow(folder: string): string[] {
  const full = join(root, folder);
  if (!statSync(full, { throwIfNoEntry: false })) return [];
  return readdirSync(full, { recursive: true, encoding: 'utf8' })
    .filter(
      (name) =>
        name.endsWith('.test.ts') && (long || !name.endsWith('.long.test.ts')) && !name.includes('node_modules'),
    )
    .sort()
    .map((name) => join(full, name));
}

interface FileResult {
  passed: number;
  failures: string[];
  skips: { name: string; reason: string }[];
  /** Its process told all of it, to the end. */
  whole: boolean;
}

const results = new Map<string, FileResult>();

const unstableAtMost = 3;
const unstable: string[] = [];

async function runFailedAgain(files: string[]): Promise<void> {
  const failed = files.filter((file) => resultOf(file).failures.length > 0);
  if (wanted.length > 0 || failed.length > unstableAtMost) return;
  for (const file of failed) {
    const first = resultOf(file);
    console.log(`${relative(root, file)} failed: it is run again, alone`);
    results.delete(file);
    await runFiles([file], 1);
    if (resultOf(file).failures.length === 0) unstable.push(...first.failures);
  }
}

/** A file whose process ends before it has told everything is run once more, by itself; then it has failed. */
async function runFiles(files: string[], concurrency: number): Promise<void> {
  await runOnce(files, concurrency);
  const lost = files.filter((file) => !resultOf(file).whole);
  for (const file of lost) console.log(`${relative(root, file)} did not tell all of its results: it is run again`);
  for (const file of lost) results.delete(file);
  await runOnce(lost, 1);
  for (const file of lost.filter((one) => !resultOf(one).whole)) {
    resultOf(file).failures.push(
      `${relative(root, file)}\nits process ended before it had told all of its results, twice`,
    );
  }
}

async function runOnce(files: string[], concurrency: number): Promise<void> {
  if (files.length === 0) return;
  const stream = run({
    files,
    concurrency,
    execArgv: [
      '--experimental-ffi',
      '--disable-warning=ExperimentalWarning',
      '--test-force-exit',
      `--import=${join(import.meta.dirname, 'tell-all.ts')}`,
    ],
    timeout: long ? 5_400_000 : 600_000,
  });
  for await (const event of stream) {
    if (event.type === 'test:pass' || event.type === 'test:fail') count(event.type, event.data);
    if (event.type === 'test:stderr' && (long || process.env.SAMPAN_TEST_VERBOSE))
      process.stderr.write(event.data.message);
    if (event.type === 'test:summary' && event.data.file) {
      const { counts: file } = event.data;
      resultOf(event.data.file).whole = true;
      console.log(
        `${file.failed || file.cancelled ? 'FAIL' : 'ok  '} ${relative(root, event.data.file)}  ${file.passed} passed, ${file.failed + file.cancelled} failed, ${file.skipped} skipped (${(event.data.duration_ms / 1000).toFixed(1)} s)`,
      );
    }
  }
}

interface TestResult {
  name: string;
  file?: string | undefined;
  line?: number | undefined;
  skip?: string | boolean | undefined;
  details: { type?: string | undefined; error?: unknown };
}

function resultOf(file: string): FileResult {
  let result = results.get(file);
  if (!result) results.set(file, (result = { passed: 0, failures: [], skips: [], whole: false }));
  return result;
}

function count(type: 'test:pass' | 'test:fail', data: TestResult): void {
  const where = `${relative(root, data.file ?? '')}: ${data.name}`;
  const result = resultOf(data.file ?? '');
  if (type === 'test:fail') {
    const error = data.details.error as (Error & { failureType?: string; cause?: unknown }) | undefined;
    if (error?.failureType === 'subtestsFailed') return; // its children say what failed
    const cause = error?.cause ?? error;
    result.failures.push(`${where}\n${told(cause)}`);
  } else if (data.skip !== undefined && data.skip !== false) {
    result.skips.push({ name: where, reason: typeof data.skip === 'string' ? data.skip : 'no reason given' });
  } else if (data.details.type !== 'suite') result.passed++;
}

/** With what caused it, and what caused that. */
function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by ${told(error.cause)}`;
}

function allowedSkips(): string[] {
  return readFileSync(join(root, 'testing', 'allowed-skips'), 'utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('#'));
}

await prepareMachine();
const files = testFiles();
const endToEnd = files.filter((file) => relative(root, file).startsWith('test/'));
const atOnce = long ? 1 : Math.min(2, availableParallelism());
await runFiles(
  files.filter((file) => !endToEnd.includes(file)),
  atOnce,
);
await runFiles(endToEnd, atOnce);
await runFailedAgain(files);

const all = [...results.values()];
const passed = all.reduce((sum, result) => sum + result.passed, 0);
const failures = all.flatMap((result) => result.failures);
const skips = all.flatMap((result) => result.skips);
for (const failure of unstable) console.log(`\nUNSTABLE, passed when it was run again: ${failure}`);
for (const failure of failures) console.log(`\nFAILED ${failure}`);
for (const skip of skips) console.log(`skipped ${skip.name}: ${skip.reason}`);
const allowed = allowedSkips();
const surprising = skips.filter((skip) => !allowed.some((name) => skip.name.includes(name)));
for (const skip of surprising)
  console.log(
    `NOT ALLOWED to skip: ${skip.name} (name it in testing/allowed-skips, with the reason, if that is meant)`,
  );
const unsure = unstable.length > 0 ? `, ${unstable.length} unstable` : '';
console.log(`\n${passed} passed, ${failures.length} failed, ${skips.length} skipped${unsure}`);
process.exit(failures.length > 0 || passed === 0 || surprising.length > 0 ? 1 : 0);
