/** Certificates change through the runtime API: no reload, no connection notices. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { RouterError } from '../model.ts';
import type { Files } from './config.ts';
import type { CommandSocket } from './socket.ts';

/** The name is part of a path: only what needs no escaping there. */
const NAME = /^(\*\.)?[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$/;

export function certificateFile(files: Files, name: string): string {
  if (!NAME.test(name)) {
    throw new RouterError(
      'invalid',
      `Cannot use the certificate: its name is ${JSON.stringify(name)}, expected a host name`,
    );
  }
  return `${files.certificates}/${name.replace('*', '_')}.pem`;
}

const PRIVATE_KEY = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]+-----END \1-----/;

/** Throws unless the text is a certificate with its private key. Empty lines would end a command early: they go. */
export function checkCertificate(name: string, text: string): string {
  // Two blocks may have been put together without a line end between them.
  const pem = text.replace(/-----(?=-----BEGIN )/g, '-----\n');
  const refuse = (why: string, cause?: unknown): RouterError =>
    new RouterError('invalid', `Cannot use the certificate "${name}": ${why}`, { cause });
  const [key] = PRIVATE_KEY.exec(pem) ?? [];
  if (key === undefined) throw refuse('no private key is in it (PEM, in the same text)');
  const certificate = parsed(
    () => new X509Certificate(pem),
    (cause) => refuse('no certificate in PEM can be read in it', cause),
  );
  const privateKey = parsed(
    () => createPrivateKey(key),
    (cause) => refuse('its private key cannot be read', cause),
  );
  if (!certificate.checkPrivateKey(privateKey)) throw refuse('its private key is that of another certificate');
  const lines = pem.split(/\r?\n/).map((line) => line.trim());
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}

function parsed<T>(read: () => T, refusal: (cause: unknown) => RouterError): T {
  try {
    return read();
  } catch (cause) {
    throw refusal(cause);
  }
}

/** Does the file have another content? */
export async function certificateDiffers(path: string, pem: string): Promise<boolean> {
  return (await readFile(path, 'utf8').catch(() => undefined)) !== pem;
}

/** For the next start or reload. Comes after the running proxy took it, so that a refused one is tried again. */
export async function storeCertificate(path: string, pem: string): Promise<void> {
  await writeFileAtomic(path, pem, { mode: 0o600 });
}

/** Makes a running proxy offer the certificate under the name of its file: for its own names, or for these hosts alone. */
export async function installCertificate(
  socket: CommandSocket,
  files: Files,
  path: string,
  pem: string,
  hosts: readonly string[] = [],
): Promise<void> {
  const offered = await socket.ask(`show ssl crt-list ${files.certificateList}`);
  const known = offered.split('\n').some((line) => line.split(' ')[0]?.replace(/:\d+$/, '') === path);
  const steps = [
    ...(known ? [] : [{ text: `new ssl cert ${path}`, expect: /New empty certificate store/ }]),
    { text: `set ssl cert ${path} <<\n${pem}`, payload: true, expect: /Transaction (created|updated)/ },
    { text: `commit ssl cert ${path}`, expect: /Success/ },
    ...(known ? [] : [{ ...listing(files, path, hosts), expect: /Success/ }]),
  ];
  for (const step of steps) {
    const [answer = ''] = await socket.run([step]);
    if (step.expect.test(answer)) continue;
    await socket.ask(`abort ssl cert ${path}`);
    throw new RouterError('proxy-failed', `HAProxy refused the certificate in "${path}": ${answer}`);
  }
}

function listing(files: Files, path: string, hosts: readonly string[]): { text: string; payload?: boolean } {
  const add = `add ssl crt-list ${files.certificateList}`;
  return hosts.length === 0
    ? { text: `${add} ${path}` }
    : { text: `${add} <<\n${path} ${hosts.join(' ')}\n`, payload: true };
}
