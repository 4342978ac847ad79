/** The gate before the tests: types, lint, format, layers, cycles, sizes, dead code. Everything runs, then the verdict. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { readModules } from './imports.ts';
import { importCycles, layerViolations } from './layers.ts';
import { sizeComplaints } from './sizes.ts';

const root = join(import.meta.dirname, '..');
const tool = (name: string): string => join(root, 'node_modules', '.bin', name);

interface Verdict {
  name: string;
  ok: boolean;
  output: string;
}

function run(name: string, command: string, args: string[]): Promise<Verdict> {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (part: Buffer) => (output += part.toString()));
    child.stderr.on('data', (part: Buffer) => (output += part.toString()));
    child.once('error', (error) => done({ name, ok: false, output: error.message }));
    child.once('close', (code) => done({ name, ok: code === 0, output }));
  });
}

const modules = readModules(root);
const list = (name: string, complaints: string[]): Verdict => ({
  name,
  ok: complaints.length === 0,
  output: complaints.join('\n'),
});
const verdicts = await Promise.all([
  list('modules seen', modules.length > 100 ? [] : [`only ${modules.length} modules were seen: the scan is broken`]),
  list(
    'layers',
    layerViolations(modules).map((violation) => `${violation.from} -> ${violation.to}: ${violation.reason}`),
  ),
  list(
    'cycles',
    importCycles(modules).map((cycle) => cycle.join(' -> ')),
  ),
  list('sizes', sizeComplaints(root, modules)),
  run('types', tool('tsc'), ['-p', '.']),
  run('lint', tool('oxlint'), ['--deny-warnings', '.']),
  run('format', tool('biome'), ['format', '.']),
  run('dead code', tool('knip'), ['--no-progress']),
]);
for (const { name, ok, output } of verdicts) {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}`);
  if (!ok) console.log(output.trimEnd().replaceAll(/^/gm, '     '));
}
process.exitCode = verdicts.every((verdict) => verdict.ok) ? 0 : 1;
