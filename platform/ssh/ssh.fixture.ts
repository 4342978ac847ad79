/** The proxy for tests: commands run on this machine instead of in a container (`exec` of the Kubernetes API is stood in for). */
import { spawn } from 'node:child_process';
import ssh2 from 'ssh2';
import type { Client, PodExecOptions, PodExecSession } from '#cluster/client/client.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { SshProxy, SshRefusal, SshTarget } from './ssh.ts';
import { startSshProxy } from './start.ts';

const GUID = '00000000-0000-4000-8000-000000000001';
export const USER = `cf:${GUID}/0`;
const developer: Identity = {
  userId: 'dora',
  userName: 'dora',
  clientId: 'cf',
  origin: 'uaa',
  scopes: ['cloud_controller.write'],
  admin: false,
  reads: 'own',
};
const target: Omit<SshTarget, 'revoked'> = {
  pod: { name: 'p', namespace: 'n' },
  container: 'app',
  launcher: false,
  app: GUID,
};
const hostKey = { privateKey: ssh2.utils.generateKeyPairSync('ed25519').private, fingerprint: '' };

/** @param as  whose process it is, and where it begins; default: ours */
export function execHere(
  { command: [program = '', ...words], signal }: PodExecOptions,
  as: { uid?: number; gid?: number; cwd?: string } = {},
): PodExecSession {
  const child = spawn(program, words, { ...as, ...(signal ? { signal } : {}) });
  child.on('error', () => undefined); // killed by its signal
  const exited = new Promise<{ code: number }>((done) => child.once('close', (code) => done({ code: code ?? 137 })));
  const { stdin, stdout, stderr } = child;
  return { stdin, stdout, stderr, exited, resize: () => undefined };
}

export function openProxy(options: {
  exec: (options: PodExecOptions) => PodExecSession;
  redeem: (code: string) => boolean;
  refusal?: () => SshRefusal | undefined;
  revoked?: () => AbortSignal;
}): Promise<SshProxy> {
  const { exec, redeem, refusal, revoked = () => new AbortController().signal } = options;
  const client = { exec: (_pod: unknown, what: PodExecOptions) => Promise.resolve(exec(what)) };
  return startSshProxy({
    client: client as unknown as Client,
    redeem: (code) => Promise.resolve(redeem(code) ? developer : undefined),
    access: () => {
      const no = refusal?.();
      return no === undefined ? Promise.resolve({ ...target, revoked: revoked() }) : Promise.reject(no);
    },
    hostKey,
    host: '127.0.0.1',
    port: 0,
    log: () => undefined,
  });
}
