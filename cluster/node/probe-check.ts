/**
 * One look at a container: by HTTP, TCP or gRPC at its pod's address, or by a command in it. Never rejects: what goes
 * wrong is a failed check with a message. Hooks use the same ways.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Container, GRPCAction, HTTPGetAction, TCPSocketAction } from '../kinds/types/core.ts';
import type { IntOrString } from '../kinds/types/meta.ts';
import { messageOf } from './errors.ts';

export interface CheckAction {
  exec?: { command?: string[] };
  httpGet?: HTTPGetAction;
  tcpSocket?: TCPSocketAction;
  grpc?: GRPCAction;
}

export interface CheckTarget {
  ip: string;
  definition: Container;
  /** Runs a command in the container; rejects when it cannot be run or the signal is aborted. */
  exec: (command: string[], signal: AbortSignal) => Promise<{ code: number; output: string }>;
}

export interface CheckResult {
  ok: boolean;
  message: string;
}

export async function check(
  action: CheckAction,
  target: CheckTarget,
  timeout: number,
  signal?: AbortSignal,
): Promise<CheckResult> {
  const expired = AbortSignal.timeout(timeout);
  const limit = signal ? AbortSignal.any([signal, expired]) : expired;
  try {
    return await perform(action, target, limit);
  } catch (error) {
    if (expired.aborted) return { ok: false, message: `no answer within ${timeout / 1000} s` };
    return { ok: false, message: messageOf(error) };
  }
}

async function perform(action: CheckAction, target: CheckTarget, signal: AbortSignal): Promise<CheckResult> {
  if (action.exec) {
    const { code, output } = await target.exec(action.exec.command ?? [], signal);
    return { ok: code === 0, message: output.trim() || `command ended with exit code ${code}` };
  }
  if (action.httpGet) return await checkHttp(action.httpGet, target, signal);
  if (action.tcpSocket) {
    using socket = disposable(await open(target.ip, portOf(action.tcpSocket.port, target.definition), signal));
    return { ok: true, message: `connected to port ${socket.value.remotePort}` };
  }
  if (action.grpc) {
    const { checkGrpc } = await import('./probe-grpc.ts');
    return await checkGrpc(target.ip, action.grpc.port, action.grpc.service ?? '', signal);
  }
  return { ok: true, message: 'nothing to check' };
}

export function portOf(port: IntOrString, definition: Container): number {
  const text = String(port);
  const number = /^\d+$/.test(text) ? Number(text) : definition.ports?.find(({ name }) => name === text)?.containerPort;
  if (number === undefined || number < 1 || number > 65_535) {
    throw new Error(`port "${port}" is neither a number nor the name of a port of container "${definition.name}"`);
  }
  return number;
}

function disposable(socket: Socket): Disposable & { value: Socket } {
  return { value: socket, [Symbol.dispose]: () => socket.destroy() };
}

function open(host: string, port: number, signal: AbortSignal, secure = false): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  signal.throwIfAborted();
  // A pod's certificate is its own: the probe asks whether it answers, as upstream's does.
  const socket = secure ? connectTls({ host, port, rejectUnauthorized: false }) : connect({ host, port });
  const abort = (): void => void socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  socket.once(secure ? 'secureConnect' : 'connect', () => resolve(socket));
  socket.once('error', reject);
  socket.once('close', () => {
    signal.removeEventListener('abort', abort);
    reject(new Error('connection closed'));
  });
  return promise;
}

async function checkHttp(get: HTTPGetAction, target: CheckTarget, signal: AbortSignal): Promise<CheckResult> {
  const port = portOf(get.port, target.definition);
  const secure = get.scheme?.toUpperCase() === 'HTTPS';
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  const url = `${secure ? 'https' : 'http'}://${target.ip}:${port}${path}`;
  const request = requestText(get, path, `${target.ip}:${port}`);
  let status: number;
  try {
    using socket = disposable(await open(target.ip, port, signal, secure));
    socket.value.write(request);
    status = await readStatus(socket.value);
  } catch (error) {
    return { ok: false, message: `Get "${url}": ${signal.aborted ? 'no answer in time' : messageOf(error)}` };
  }
  const ok = status >= 200 && status < 400;
  return { ok, message: `HTTP probe ${ok ? 'succeeded' : 'failed'} with statuscode: ${status}` };
}

function requestText(get: HTTPGetAction, path: string, authority: string): string {
  const headers = new Map([
    ['host', `Host: ${authority}`],
    ['user-agent', 'User-Agent: kube-probe/1.30'],
    ['accept', 'Accept: */*'],
    ['connection', 'Connection: close'],
  ]);
  for (const { name, value } of get.httpHeaders ?? []) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[\r\n\0]/.test(value)) {
      throw new Error(`httpHeaders "${name}": not a valid header`);
    }
    headers.set(name.toLowerCase(), `${name}: ${value}`);
  }
  if (/[\s\0]/.test(path)) throw new Error(`path "${path}" must not contain white space: write it percent-encoded`);
  return `GET ${path} HTTP/1.1\r\n${[...headers.values()].join('\r\n')}\r\n\r\n`;
}

/** Only the status line counts; the rest is not read. */
async function readStatus(socket: Socket): Promise<number> {
  let head = '';
  for await (const chunk of socket) {
    head += (chunk as Buffer).toString('latin1');
    const match = /^HTTP\/1\.[01] (\d{3})[ \r\n]/.exec(head);
    if (match) return Number(match[1]);
    if (head.length > 64) break;
  }
  throw new Error(head === '' ? 'EOF' : `malformed HTTP response "${head.slice(0, 32)}"`);
}
