/** Copies a database into a new file, from its own connection and thread: writes and reads go on meanwhile. */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';
import { makePrivateFile } from './schema.ts';

const { from, to } = workerData as { from: string; to: string };
makePrivateFile(to);
const source = new DatabaseSync(from, { readOnly: true, timeout: 5000 });
source.prepare('VACUUM INTO ?').run(to);
source.close();
const file = openSync(to, 'r+');
fsyncSync(file);
closeSync(file);
