/**
 * A user namespace and the network and IPC namespaces that it owns, kept alive by binding them to files. They are made together,
 * because mounting sysfs in a container needs a network namespace that its user namespace owns, and mounting mqueue an IPC namespace;
 * and by a process of their own, because one with threads (Node) cannot enter a user namespace.
 */
import { writeFileSync } from 'node:fs';
import { EngineError } from '../engine.ts';
import { inNewProcess, SystemError } from '../sys/libc.ts';
import { bindMount } from '../sys/mounts.ts';

export interface NamespaceFiles {
  userNamespace: string;
  networkNamespace: string;
  ipcNamespace: string;
}

export interface NamespacesRequest {
  files: NamespaceFiles;
  /** Ids of the user namespace; without one the host's is kept. */
  range?: { first: number; length: number };
  /** Whether there is a network namespace too. */
  network: boolean;
}

const CLONE_NEWUSER = 0x10000000;
const CLONE_NEWNET = 0x40000000;
const CLONE_NEWIPC = 0x08000000;

export function makeNamespaces({ files, range, network }: NamespacesRequest): void {
  if (range !== undefined) writeFileSync(files.userNamespace, '');
  if (network) writeFileSync(files.networkNamespace, '');
  writeFileSync(files.ipcNamespace, '');
  const flags = (range === undefined ? 0 : CLONE_NEWUSER) | (network ? CLONE_NEWNET : 0) | CLONE_NEWIPC;
  try {
    inNewProcess(flags, (pid) => {
      const proc = `/proc/${pid}`;
      if (range !== undefined) {
        const map = `0 ${range.first} ${range.length}\n`;
        writeFileSync(`${proc}/uid_map`, map);
        writeFileSync(`${proc}/gid_map`, map);
        bindMount(`${proc}/ns/user`, files.userNamespace);
      }
      bindMount(`${proc}/ns/ipc`, files.ipcNamespace);
      if (network) bindMount(`${proc}/ns/net`, files.networkNamespace);
    });
  } catch (error) {
    if (!(error instanceof SystemError) || error.syscall !== 'clone') throw error;
    throw new EngineError(
      'unavailable',
      `cannot make a user namespace: ${error.code}; allow them with sysctl user.max_user_namespaces, user.max_net_namespaces and user.max_ipc_namespaces`,
      { cause: error },
    );
  }
}
