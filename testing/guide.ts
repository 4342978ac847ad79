/**
 * Guides that are tests: the commands of a page's `console` blocks, run one after another in one shell as a person would type them, and what the page
 * shows of their output, looked for in what they say.
 */
import assert from 'node:assert/strict';
import { finish } from './platform.ts';

interface Step {
  command: string;
  /** What the page shows of its output; `…` stands for lines that it leaves out. */
  shown: string[];
}

const MARK = '----- step';

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

/**
 * Runs all of them; what one says on either output is its own. An error with everything that was said where one fails.
 * @param shell  words before `bash -c SCRIPT`
 * @param adapt  a command's words as they are here
 */
export async function runSteps(
  steps: readonly Step[],
  options: { shell: string[]; env: NodeJS.ProcessEnv; adapt: (command: string) => string },
): Promise<string[]> {
  const lines = steps.flatMap((step, index) => [
    `echo '${MARK} ${index}'`,
    asked({ ...step, command: options.adapt(step.command) }),
  ]);
  const script = ['set -e', 'exec 2>&1', ...lines].join('\n');
  const [program = '', ...words] = [...options.shell, 'bash', '-c', script];
  const { code, stdout } = await finish(program, words, { env: options.env, input: '', timeout: 1_200_000 });
  const said = stdout.split(new RegExp(`^${MARK} \\d+\\n`, 'm')).slice(1);
  assert.equal(code, 0, `the command ${JSON.stringify(steps[said.length - 1]?.command)} failed:\n${stdout}`);
  return said;
}

/** What the router answers follows a deployment a moment later: who only asks asks until it says what the page shows. */
function asked({ command, shown }: Step): string {
  if (!command.startsWith('curl ') || command.includes(' -d ') || shown.length === 0) return command;
  const wanted = `'${shown.join('\n').replaceAll("'", `'\\''`)}'`;
  return `for try in {1..300}; do said=$(${command}) || true; [ "$said" = ${wanted} ] && break; sleep 0.1; done; echo "$said"`;
}

/**
 * Every line that the page shows comes in this order, but for numbers, times and names that are made up.
 * @param of  the commands that are looked at
 */
export function assertShown(
  steps: readonly Step[],
  said: readonly string[],
  { plain, of = /./ }: { plain: (text: string) => string; of?: RegExp },
): void {
  for (const [index, { command, shown }] of steps.entries()) {
    if (!of.test(command)) continue;
    const lines = plain(said[index] ?? '')
      .split('\n')
      .map(likeness);
    let from = 0;
    for (const line of shown) {
      const at = lines.indexOf(likeness(line), from);
      assert.notEqual(at, -1, `${command}: the guide shows ${JSON.stringify(line)} next, and it says:\n${said[index]}`);
      from = at + 1;
    }
  }
}

function likeness(line: string): string {
  return line
    .replaceAll(/\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b/g, 'DAY')
    .replaceAll(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'GUID')
    .replaceAll(/\d+(\.\d+)*[KMG]?\b/g, '0')
    .replaceAll(/-{3,}/g, '---')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
