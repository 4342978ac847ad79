/**
 * YAML to JSON and back. It takes a hundred times as long as JSON does, so anything but a small text is read and written by a thread of
 * its own, one after the other: whoever sends megabytes of it holds up others who do, and nobody else.
 *
 * The thread begins with the first text that needs it, and ends when none came for a while.
 */
import { Worker } from 'node:worker_threads';
import { readYaml, writeYaml, type YamlDoubt, type YamlOptions } from './text.ts';

/** What is not worth a thread, in bytes. */
const SMALL = 16 * 1024;
const IDLE = 10_000;
/** For one text: longer ones are refused rather than waited for. */
const TIME_LIMIT = 20_000;

export class YamlError extends Error {
  readonly code = 'yaml-malformed';
  constructor(message: string) {
    super(message);
    this.name = 'YamlError';
  }
}

export interface YamlRead {
  value: unknown;
  /** Keys that are there twice. */
  doubts: YamlDoubt[];
}

/** @throws YamlError */
export async function parseYamlText(text: string, options: YamlOptions = {}): Promise<YamlRead> {
  if (text.length <= SMALL) {
    const { parseDocument, LineCounter } = await import('yaml');
    return small(() => {
      const { json, doubts } = readYaml({ parseDocument, LineCounter }, text, options);
      return { value: JSON.parse(json) as unknown, doubts };
    });
  }
  const { json, doubts } = await inThread<{ json: string; doubts: YamlDoubt[] }>({ read: text, options });
  return { value: JSON.parse(json) as unknown, doubts };
}

export async function yamlOf(json: Buffer): Promise<Buffer> {
  if (json.length <= SMALL) {
    const { stringify } = await import('yaml');
    return Buffer.from(writeYaml(stringify, json.toString()));
  }
  const { text } = await inThread<{ text: string }>({ write: json.toString() });
  return Buffer.from(text);
}

function small<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new YamlError((cause as Error).message);
  }
}

/** As the thread takes and gives them. */
export type YamlTask = { read: string; options: YamlOptions } | { write: string };
export type YamlAnswer = { json: string; doubts: YamlDoubt[] } | { text: string } | { error: string };

let thread: Worker | undefined;
let last: Promise<unknown> = Promise.resolve();
let idle: NodeJS.Timeout | undefined;

function inThread<T extends YamlAnswer>(task: YamlTask): Promise<T> {
  const answer = last.then(() => ask(task));
  last = answer.catch(() => undefined);
  return answer as Promise<T>;
}

async function ask(task: YamlTask): Promise<YamlAnswer> {
  clearTimeout(idle);
  thread ??= new Worker(new URL('./thread.ts', import.meta.url), { name: 'yaml' });
  const worker = thread;
  const { promise, resolve, reject } = Promise.withResolvers<YamlAnswer>();
  const failed = (why: string): void => {
    thread = undefined;
    void worker.terminate();
    reject(new YamlError(why));
  };
  const timer = setTimeout(
    () => failed(`it takes longer than ${TIME_LIMIT / 1000} s to be read: send a shorter one, or JSON`),
    TIME_LIMIT,
  );
  const onError = (error: Error): void => failed(error.message);
  worker.once('message', resolve);
  worker.once('error', onError);
  try {
    worker.postMessage(task);
    const answer = await promise;
    if ('error' in answer) throw new YamlError(answer.error);
    return answer;
  } finally {
    clearTimeout(timer);
    worker.off('message', resolve);
    worker.off('error', onError);
    idle = setTimeout(() => {
      void thread?.terminate();
      thread = undefined;
    }, IDLE);
    idle.unref();
    thread?.unref();
  }
}
