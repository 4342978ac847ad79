/** bin/build of the procfile buildpack: each line `type: command` of the Procfile is a process. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { step } from '../../../lifecycle/words.ts';

const [layers] = process.argv.slice(2);
if (layers === undefined) throw new Error('usage: build LAYERS PLATFORM PLAN');

const processes = new Map<string, string>();
for (const [index, line] of readFileSync('Procfile', 'utf8').split(/\r?\n/).entries()) {
  if (line.trim() === '' || line.startsWith('#') || line.trim() === '---') continue;
  const match = /^([A-Za-z0-9][A-Za-z0-9_-]*):\s*(\S.*)$/.exec(line);
  if (match === null) {
    process.stdout.write(
      ` !     Procfile, line ${index + 1}: ${JSON.stringify(line.slice(0, 80))} is not "type: command"\n`,
    );
    process.exit(1);
  }
  processes.set(match[1] ?? '', (match[2] ?? '').trim().replace(/^(["'])(.*)\1$/, '$2'));
}
step(`Procfile: ${[...processes.keys()].join(', ') || 'empty'}`);
const blocks: string[] = [];
for (const [type, command] of processes) {
  blocks.push(
    `[[processes]]\ntype = ${JSON.stringify(type)}\ncommand = ${JSON.stringify(['bash', '-c', command])}\ndefault = ${type === 'web'}\n`,
  );
}
writeFileSync(join(layers, 'launch.toml'), blocks.join('\n'));
