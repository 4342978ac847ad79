/** The Docker API over TCP: its certificates, and the files that clients need. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dockerCertificates, ensureCertificates, readCa, readPair } from './certificates.ts';
import type { Instance } from './instance.ts';

/** The instance's certificates; those of the door too, where there is one. @returns whether what runs has some that end soon */
export async function prepareDoors(instance: Instance, tcp: { host: string } | undefined): Promise<boolean> {
  const renewed = await ensureCertificates(instance, tcp === undefined ? [] : dockerCertificates(instance, tcp.host));
  if (tcp !== undefined) writeClientFiles(instance);
  return renewed;
}

/** How clients reach it, for people. */
export function remoteText(instance: Instance, { host, port }: { host: string; port: number }): string {
  const name = ['0.0.0.0', '::'].includes(host) ? instance.nodeName : host.includes(':') ? `[${host}]` : host;
  const directory = clientDirectory(instance);
  return [
    `Over TCP, for whoever has the files in ${directory}, which make one root on this machine:`,
    `  export DOCKER_HOST=tcp://${name}:${port} DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=${directory}`,
    '',
  ].join('\n');
}

const clientDirectory = ({ dataDirectory }: Instance): string => join(dataDirectory, 'docker-client');

/** Under the names that docker looks for. */
function writeClientFiles(instance: Instance): void {
  const directory = clientDirectory(instance);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { certificate, key } = readPair(instance, 'docker-client');
  const files: [string, string][] = [
    ['ca.pem', readCa(instance)],
    ['key.pem', key],
    ['cert.pem', certificate],
  ];
  for (const [name, text] of files) {
    writeFileSync(join(directory, `.${name}`), text, { mode: 0o600, flush: true });
    renameSync(join(directory, `.${name}`), join(directory, name));
  }
}
