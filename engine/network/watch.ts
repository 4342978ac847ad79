/** Tells when rules that the instance needs are removed by somebody else, by `nft monitor` (an event for each change, no polling). */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ruleTag, tableName } from './names.ts';

export class RuleWatch {
  readonly #child: ChildProcess;
  #timer: NodeJS.Timeout | undefined;

  /** @param onLost  called once for a burst of removals */
  constructor(instance: string, onLost: () => void) {
    const table = `delete table inet ${tableName(instance)}`;
    const foreign = /^delete (rule|chain|table) (ip|inet) /;
    // It must not outlive this process, however that ends.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', 'nft', 'monitor', 'destroy'], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child.once('error', () => {});
    this.#child.unref();
    if (this.#child.stdout === null) return;
    const lines = createInterface({ input: this.#child.stdout });
    lines.on('line', (line) => {
      const lost = line.startsWith(table) || (foreign.test(line) && line.includes(ruleTag(instance)) && !line.includes(`inet ${tableName(instance)}`));
      if (!lost) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(onLost, 50);
      this.#timer.unref();
    });
    const stream = this.#child.stdout;
    if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#child.kill();
  }
}
