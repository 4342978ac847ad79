/** bin/build of the binary buildpack: the source runs as it is. A single program at the root is the process `web`. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { detail, step } from '../../../lifecycle/words.ts';
import { executables } from './executables.ts';

const [layers] = process.argv.slice(2);
if (layers === undefined) throw new Error('usage: build LAYERS PLATFORM PLAN');

step('Binary: the source runs as it is');
const [program, ...others] = executables('.');
if (program !== undefined && others.length === 0 && !existsSync('Procfile')) {
  detail(`start command: ./${program}`);
  const command = JSON.stringify([`./${program}`]);
  writeFileSync(join(layers, 'launch.toml'), `[[processes]]\ntype = "web"\ncommand = ${command}\ndefault = true\n`);
}
