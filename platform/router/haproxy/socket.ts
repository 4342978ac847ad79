/**
 * HAProxy's command socket. In interactive mode commands are pipelined: all are written, and each answer ends with a
 * prompt, so that thousands of changes cost one connection.
 */
import { connect, type Socket } from 'node:net';
import { RouterError } from '../model.ts';

const PROMPT = '\n> ';
/** A worker that says nothing for so long is as good as dead. */
export const ANSWER_TIMEOUT = 10_000;

export function connectUnix(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** One for each batch or a longer time; not for concurrent use. */
export class CommandSocket implements AsyncDisposable {
  readonly #socket: Socket;
  #answers: string[] = [];
  #chunks: string[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#receive(text));
    socket.setTimeout(ANSWER_TIMEOUT, () => socket.destroy(new Error('there was no answer within 10 s')));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  /** Rejects with `RouterError` `unavailable` when nobody listens. */
  static async open(path: string): Promise<CommandSocket> {
    try {
      const commands = new CommandSocket(await connectUnix(path));
      commands.#socket.write('prompt\n');
      await commands.#take(1);
      return commands;
    } catch (cause) {
      throw new RouterError('unavailable', `Cannot reach HAProxy at "${path}"`, { cause });
    }
  }

  /** Runs commands in order; one answer for each, without the white space around it. */
  async run(commands: readonly { text: string; payload?: boolean }[]): Promise<string[]> {
    if (commands.length === 0) return [];
    for (const { text } of commands) this.#socket.write(`${text}\n`);
    try {
      const answers = await this.#take(commands.length);
      // While HAProxy reads a payload, it prints `+ ` for each line.
      return answers.map((answer, index) => (commands[index]?.payload ? answer.replace(/^(\+ )*/, '') : answer).trim());
    } catch (cause) {
      throw new RouterError('unavailable', 'HAProxy closed the connection before it answered', { cause });
    }
  }

  async ask(text: string): Promise<string> {
    const [answer = ''] = await this.run([{ text }]);
    return answer;
  }

  #receive(text: string): void {
    this.#chunks.push(text);
    // A prompt may be split between chunks: join when the end could be one.
    if (!text.endsWith(' ')) return;
    const parts = this.#chunks.join('').split(PROMPT);
    this.#chunks = [parts.pop() ?? ''];
    this.#answers.push(...parts);
    this.#wake?.();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  async #take(count: number): Promise<string[]> {
    while (this.#answers.length < count) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#answers.splice(0, count);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    return Promise.resolve();
  }
}
