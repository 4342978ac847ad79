import { version as number } from '../version.ts';

export function version(options: { json?: boolean }): void {
  if (options.json)
    process.stdout.write(`${JSON.stringify({ version: number, node: process.version, kubernetes: '1.30' })}\n`);
  else process.stdout.write(`sampan ${number} (Node ${process.version}, Kubernetes API 1.30)\n`);
}
