/**
 * The routing table's certificates in the proxy. The name of a file is a digest of what is in it: one that changed is another
 * one, offered before the older one goes, and what a proxy offers tells which they are.
 */
import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import type { HostCertificate, RouterOptions } from '../model.ts';
import { checkCertificate, installCertificate, storeCertificate } from './certificates.ts';
import type { Files } from './config.ts';
import { CommandSocket } from './socket.ts';

const PREFIX = 'table-';

/** Files of certificates, and the hosts that each is for. */
export type Offered = Map<string, readonly string[]>;

/** Is a file of the certificates' directory one of the table's? */
export function isOfTable(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** Reads the answer to `show ssl crt-list`: `<file> [<options>] <host> …` a line; the table's own alone. */
export function parseOffered(files: Files, answer: string): Offered {
  const offered: Offered = new Map();
  for (const line of answer.split('\n')) {
    const [path = '', ...words] = line.trim().split(' ');
    if (!path.startsWith(`${files.certificates}/${PREFIX}`)) continue;
    offered.set(
      path.replace(/:\d+$/, ''),
      words.filter((word) => word !== '' && !/[[\]]/.test(word)),
    );
  }
  return offered;
}

export class HostCertificates {
  offered: Offered = new Map();
  /** Asked once each: the proxy does not change its mind. */
  readonly #refused = new Set<string>();
  readonly #paths = new WeakMap<HostCertificate, string>();
  readonly #files: Files;
  readonly #log: RouterOptions['log'];

  constructor(files: Files, log: RouterOptions['log']) {
    this.#files = files;
    this.#log = log;
  }

  /** Makes the proxy offer what is wanted and is not there yet. True when anything changed. */
  async offer(wanted: readonly HostCertificate[]): Promise<boolean> {
    const missing = wanted
      .map((certificate) => ({ certificate, path: this.#file(certificate) }))
      .filter(({ path }) => !this.offered.has(path) && !this.#refused.has(path));
    if (missing.length === 0) return false;
    await using socket = await CommandSocket.open(this.#files.commandSocket);
    for (const { certificate, path } of missing) await this.#install(socket, certificate, path);
    return true;
  }

  /** Takes back what nobody wants any more. True when anything changed. */
  async withdraw(wanted: readonly HostCertificate[]): Promise<boolean> {
    const kept = new Set(wanted.map((one) => this.#file(one)));
    for (const path of this.#refused) if (!kept.has(path)) this.#refused.delete(path);
    const gone = [...this.offered.keys()].filter((path) => !kept.has(path));
    if (gone.length === 0) return false;
    await using socket = await CommandSocket.open(this.#files.commandSocket);
    for (const path of gone) {
      await socket.ask(`del ssl crt-list ${this.#files.certificateList} ${path}`);
      await socket.ask(`del ssl cert ${path}`);
      this.offered.delete(path);
      await rm(path, { force: true });
    }
    return true;
  }

  /** Removes what a router left that died between two steps. */
  async removeUnoffered(): Promise<void> {
    for (const name of await readdir(this.#files.certificates)) {
      const path = `${this.#files.certificates}/${name}`;
      if (isOfTable(name) && !this.offered.has(path)) await rm(path, { force: true });
    }
  }

  async #install(socket: CommandSocket, { hosts, pem }: HostCertificate, path: string): Promise<void> {
    const text = checkCertificate(hosts[0] ?? '', pem);
    await storeCertificate(path, text);
    try {
      await installCertificate(socket, this.#files, path, text, hosts);
      this.offered.set(path, hosts);
    } catch (error) {
      await rm(path, { force: true });
      this.#refused.add(path);
      this.#log('warn', 'HAProxy refused a certificate', { hosts, error: String(error) });
    }
  }

  #file(certificate: HostCertificate): string {
    const known = this.#paths.get(certificate);
    if (known !== undefined) return known;
    const { hosts, pem } = certificate;
    const digest = createHash('sha256')
      .update(JSON.stringify([hosts, pem]))
      .digest('hex')
      .slice(0, 32);
    const path = `${this.#files.certificates}/${PREFIX}${digest}.pem`;
    this.#paths.set(certificate, path);
    return path;
  }
}
