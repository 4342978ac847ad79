import { caFile, readPair } from './certificates.ts';
import { readFileSync } from 'node:fs';
import type { Instance } from './instance.ts';

/** A kubeconfig for the instance's administrator, everything inside the file. */
export function kubeconfigText(instance: Instance, host = '127.0.0.1'): string {
  const pair = readPair(instance, 'admin');
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const name = instance.name === 'sampan' ? 'sampan' : `sampan-${instance.name}`;
  return `apiVersion: v1
kind: Config
clusters:
- name: ${name}
  cluster:
    server: https://${host}:${instance.ports.kubernetes}
    certificate-authority-data: ${base64(readFileSync(caFile(instance), 'utf8'))}
users:
- name: ${name}-admin
  user:
    client-certificate-data: ${base64(pair.certificate)}
    client-key-data: ${base64(pair.key)}
contexts:
- name: ${name}
  context:
    cluster: ${name}
    user: ${name}-admin
current-context: ${name}
`;
}
