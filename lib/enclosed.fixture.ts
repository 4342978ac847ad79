/** Run by `enclosed.test.ts` as `node enclosed.fixture.ts PROGRAM WORD…`: one that starts a program, and is killed. */
import { spawn } from 'node:child_process';
import { enclosed } from './enclosed.ts';

const [program = '', ...words] = process.argv.slice(2);
spawn(...enclosed(program, words), { stdio: 'inherit' });
