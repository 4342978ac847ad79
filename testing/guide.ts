/**
 * Guides that are tests: the commands of a page's `console` blocks are typed into one shell, one after another as a person would, and each must say what
 * the page shows of it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

interface Step {
  command: string;
  /** What the page shows of its output; `…` stands for lines that it leaves out, and at the end of a line for its rest. */
  shown: string[];
}

export interface Typist {
  /** Words before `bash`. */
  shell: string[];
  env: NodeJS.ProcessEnv;
  /** A command's words as they are here. */
  adapt: (command: string) => string;
  /** What is said here, with the names of the page. */
  plain: (said: string) => string;
  /** Lines that must come in this order; default: those of the page. */
  wanted?: (step: Step) => readonly (string | RegExp)[];
}

const COMMAND_MILLISECONDS = 1_800_000;
const LOOK_MILLISECONDS = 180_000;
const LOOK_PERIOD = 100;
const MARK = '----- ended with';
const ENDED = new RegExp(`\n${MARK} (\\d+)\n`);
/** What these say follows what was done a moment later: they are asked again until it is so. */
const ONLY_LOOKS = /^(curl (?!.* -d )|cf (app|logs|marketplace|revisions|service|services|tasks)\b)/;

/** Commands begin with `# ` or `$ `. */
export function stepsOf(page: string): Step[] {
  const steps: Step[] = [];
  for (const [, block = ''] of page.matchAll(/^```console\n(.*?)^```/gms)) {
    for (const line of block.split('\n')) {
      const [, command] = /^[#$] (.*)$/.exec(line) ?? [];
      if (command !== undefined) steps.push({ command, shown: [] });
      else if (line.trim() !== '' && line.trim() !== '…') steps.at(-1)?.shown.push(line);
    }
  }
  return steps;
}

/** An error, with all that it said, at the first command that fails or does not say what is wanted. */
export async function typeSteps(steps: readonly Step[], typist: Typist): Promise<void> {
  const shell = new Shell([...typist.shell, 'bash'], typist.env);
  try {
    await shell.type('exec 2>&1');
    for (const step of steps) await typeStep(shell, step, typist);
  } finally {
    shell.end();
  }
}

async function typeStep(shell: Shell, step: Step, { adapt, plain, wanted }: Typist): Promise<void> {
  const lines = wanted?.(step) ?? step.shown;
  const end = Date.now() + LOOK_MILLISECONDS;
  for (;;) {
    const { code, said } = await shell.type(adapt(step.command));
    const missing = lacking(lines, plain(said));
    if (code === 0 && missing === undefined) return;
    if (ONLY_LOOKS.test(step.command) && Date.now() < end) {
      await delay(LOOK_PERIOD);
      continue;
    }
    assert.equal(code, 0, `${step.command} failed:\n${said}`);
    assert.fail(`${step.command}: ${String(missing)} was to come next, and it says:\n${said}`);
  }
}

/** The first of these lines that does not come behind those before it. What is made up or measured counts as alike. */
function lacking(wanted: readonly (string | RegExp)[], said: string): string | RegExp | undefined {
  const lines = said.split('\n');
  let from = 0;
  for (const line of wanted) {
    const fits = typeof line === 'string' ? alike(line) : (one: string) => line.test(one);
    const at = lines.findIndex((one, index) => index >= from && fits(one));
    if (at < 0) return line;
    from = at + 1;
  }
  return undefined;
}

function alike(shown: string): (line: string) => boolean {
  const [, begin] = /^(.*) …$/.exec(shown) ?? [];
  if (begin === undefined) return (line) => likeness(line) === likeness(shown);
  return (line) => likeness(line).startsWith(likeness(begin));
}

/** Without times, versions, sizes, shares and identifiers: they are others each time. */
function likeness(line: string): string {
  return line
    .replaceAll(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'GUID')
    .replaceAll(/\b\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d{4})/g, 'TIME')
    .replaceAll(/\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [\w ]*\d\d:\d\d:\d\d [A-Z]+( \d{4})?/g, 'TIME')
    .replaceAll(/\b\d+(\.\d+)*[BKMG](\/s)?(?!\w)/g, 'SIZE')
    .replaceAll(/\bv?\d+(\.\d+)+%?/g, 'NUMBER')
    .replaceAll(/-{3,}/g, '---')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** A bash that reads what is typed. */
class Shell {
  readonly #child: ChildProcess;
  #heard = '';
  #wake: () => void = () => undefined;
  #isOver = false;

  constructor([program = '', ...words]: string[], env: NodeJS.ProcessEnv) {
    // A group of its own, so that what hangs is ended with all that it started.
    this.#child = spawn(program, words, { env, detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#heard += text;
        this.#wake();
      });
    this.#child.stdin?.on('error', () => undefined);
    for (const event of ['error', 'close'])
      this.#child.once(event, () => {
        this.#isOver = true;
        this.#wake();
      });
  }

  /** Its status, and what it says on either output. */
  async type(command: string): Promise<{ code: number; said: string }> {
    // No command reads what is typed for the next.
    this.#child.stdin?.write(`{ ${command}\n} </dev/null\nprintf '\\n${MARK} %d\\n' $?\n`);
    const hanging = setTimeout(() => this.#kill(), COMMAND_MILLISECONDS);
    try {
      for (;;) {
        const ended = ENDED.exec(this.#heard);
        if (ended) {
          const said = this.#heard.slice(0, ended.index);
          this.#heard = this.#heard.slice(ended.index + ended[0].length);
          return { code: Number(ended[1]), said };
        }
        assert.ok(!this.#isOver, `the shell ended, or was ended, in ${command}:\n${this.#heard}`);
        await new Promise<void>((wake) => (this.#wake = wake));
      }
    } finally {
      clearTimeout(hanging);
    }
  }

  end(): void {
    this.#child.stdin?.end();
    if (!this.#isOver) this.#kill();
  }

  #kill(): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
