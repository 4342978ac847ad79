import type { Call } from './call.ts';
import { toDockerError } from './errors.ts';

/** What cannot be said by the status any more is said in the last line. */
export class Progress {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  say(line: Record<string, unknown>): void {
    const { response } = this.#call;
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/json' });
    response.write(`${JSON.stringify(line)}\r\n`);
  }

  end(error?: unknown): void {
    if (error !== undefined) {
      if (!this.#call.response.headersSent) throw error;
      const { message } = toDockerError(error);
      this.say({ errorDetail: { message }, error: message });
    }
    this.#call.response.end();
  }
}
