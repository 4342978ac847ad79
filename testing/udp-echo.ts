/** Echo by UDP within a container's network, where busybox has no program for it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

/** A program of this host, in the network namespace, at port 9000; of both families. */
export function echoIn(namespace: string): ChildProcess {
  const script = `const socket = require('node:dgram').createSocket('udp6');
    socket.on('message', (message, { port, address }) => socket.send(message, port, address)).bind(9000);`;
  return spawn('nsenter', [`--net=${namespace}`, process.execPath, '-e', script], { stdio: 'ignore' });
}

/** Sent until it is answered: what is sent before the server listens is lost. */
export async function echoed(port: number, address = '127.0.0.1'): Promise<string> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const timer = setInterval(() => socket.send('by UDP', port, address), 50);
  try {
    const [message] = (await once(socket, 'message', { signal: AbortSignal.timeout(60_000) })) as [Buffer];
    return message.toString();
  } finally {
    clearInterval(timer);
    socket.close();
  }
}
