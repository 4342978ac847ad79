/** Says what is being done: a spinner with the elapsed time on a terminal, one plain line for each finished step elsewhere. */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
  }

  async step<T>(title: string, work: (update: (detail: string) => void) => T | Promise<T>): Promise<T> {
    const begun = performance.now();
    const seconds = (): string => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
    let detail = '';
    let frame = 0;
    const draw = (): void => {
      const line = `${'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'[frame++ % 10]} ${title}${detail && `: ${detail}`} (${seconds()})`;
      this.#out.write(`\r\x1b[K${line.slice(0, (this.#out.columns || 80) - 1)}`);
    };
    const timer = this.#out.isTTY ? setInterval(draw, 100) : undefined;
    try {
      const result = await work((text) => {
        if (!timer && text !== detail) this.#out.write(`  ${text}\n`);
        detail = text;
      });
      this.#out.write(`${timer ? '\r\x1b[K' : ''}✓ ${title} (${seconds()})\n`);
      return result;
    } catch (error) {
      this.#out.write(`${timer ? '\r\x1b[K' : ''}✗ ${title} (${seconds()})\n`);
      throw error;
    } finally {
      clearInterval(timer);
    }
  }
}
