/**
 * A user namespace and the network namespace that it owns, kept alive by binding them to files.
 * They are made by a short-lived single-threaded program, because a process with threads (Node) cannot make a user namespace;
 * and together, because mounting sysfs in a container needs a network namespace that its user namespace owns.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { EngineError } from '../engine.ts';
import { bindMount } from '../sys/mounts.ts';

export interface NamespaceFiles {
  userNamespace: string;
  networkNamespace: string;
}

export async function makeNamespaces(files: NamespaceFiles, range: { first: number; length: number }): Promise<void> {
  await Promise.all([writeFile(files.userNamespace, ''), writeFile(files.networkNamespace, '')]);
  // cat answers once the namespaces are there, and ends with its input.
  const holder = spawn('unshare', ['--user', '--net', '--', 'cat'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const failure: Buffer[] = [];
  holder.stderr.on('data', (chunk: Buffer) => failure.push(chunk));
  holder.stdin.on('error', () => {});
  const closed = once(holder, 'close');
  try {
    holder.stdin.write('x');
    const first = await Promise.race([once(holder.stdout, 'data'), closed]);
    if (!Buffer.isBuffer(first[0]) || holder.pid === undefined) {
      const detail = Buffer.concat(failure).toString().trim();
      throw new EngineError(
        'unavailable',
        `cannot make a user namespace: ${detail}; allow them with sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone`,
      );
    }
    const proc = `/proc/${holder.pid}`;
    const map = `0 ${range.first} ${range.length}\n`;
    await writeFile(`${proc}/uid_map`, map);
    await writeFile(`${proc}/gid_map`, map);
    bindMount(`${proc}/ns/user`, files.userNamespace);
    bindMount(`${proc}/ns/net`, files.networkNamespace);
  } finally {
    holder.stdin.end();
    await closed;
  }
}
