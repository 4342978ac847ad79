/**
 * One look at a container: by HTTP, TCP or gRPC at its pod's address, or by a command in it. Never rejects: what goes
 * wrong is a failed check with a message. Hooks use the same ways. Another `host` is asked from inside the pod's network: a
 * pod reaches by its checks what it reaches anyhow, and nothing of this host's.
 */
import { connect, isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { timerOf } from '#lib/longest-timer.ts';
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
  /** From inside the pod's network. */
  dial: (host: string, port: number, signal: AbortSignal) => Promise<Duplex>;
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
  const expired = AbortSignal.timeout(timerOf(timeout));
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
    const port = portOf(action.tcpSocket.port, target.definition);
    using _socket = disposable(await open(target, { host: action.tcpSocket.host, port, secure: false }, signal));
    return { ok: true, message: `connected to port ${port}` };
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

function disposable(socket: Duplex): Disposable & { value: Duplex } {
  return { value: socket, [Symbol.dispose]: () => socket.destroy() };
}

interface Place {
  /** Undefined or empty: the pod's own address. */
  host: string | undefined;
  port: number;
  secure: boolean;
}

async function open(target: CheckTarget, { host, port, secure }: Place, signal: AbortSignal): Promise<Duplex> {
  signal.throwIfAborted();
  const within = host ? await target.dial(host, port, signal) : undefined;
  if (within && !secure) return within;
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const at = within ? { socket: within } : { host: target.ip, port };
  // A pod's certificate is its own: the probe asks whether it answers, as upstream's does.
  const socket = secure ? connectTls({ ...at, rejectUnauthorized: false }) : connect({ host: target.ip, port });
  const abort = (): void => void socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  socket.once(secure ? 'secureConnect' : 'connect', () => resolve(socket));
  socket.once('error', reject);
  socket.once('close', () => {
    signal.removeEventListener('abort', abort);
    reject(new Error('connection closed'));
  });
  return await promise;
}

const mostRedirects = 10;

async function checkHttp(get: HTTPGetAction, target: CheckTarget, signal: AbortSignal): Promise<CheckResult> {
  const host = get.host || target.ip;
  const secure = get.scheme?.toUpperCase() === 'HTTPS';
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  const authority = `${isIPv6(host) ? `[${host}]` : host}:${portOf(get.port, target.definition)}`;
  let url = `${secure ? 'https' : 'http'}://${authority}${path}`;
  let request = requestText(get, path, authority);
  for (let redirects = 0; ; redirects += 1) {
    let answer: Answer;
    try {
      answer = await ask(target, { get, url, request }, signal);
    } catch (error) {
      return { ok: false, message: `Get "${url}": ${signal.aborted ? 'no answer in time' : messageOf(error)}` };
    }
    const { status, location } = answer;
    const next = location === undefined ? undefined : URL.parse(location, url);
    // As upstream: one that leads to another host is an answer, and a good one.
    if (next?.hostname !== new URL(url).hostname) {
      const ok = status >= 200 && status < 400;
      return { ok, message: `HTTP probe ${ok ? 'succeeded' : 'failed'} with statuscode: ${status}` };
    }
    if (redirects >= mostRedirects)
      return { ok: false, message: `Get "${url}": stopped after ${mostRedirects} redirects` };
    url = next.href;
    request = requestText(get, `${next.pathname}${next.search}`, next.host);
  }
}

interface Answer {
  status: number;
  /** Where a redirect leads. */
  location?: string;
}

async function ask(
  target: CheckTarget,
  { get, url, request }: { get: HTTPGetAction; url: string; request: string },
  signal: AbortSignal,
): Promise<Answer> {
  const { protocol, port } = new URL(url);
  const secure = protocol === 'https:';
  const place = { host: get.host, port: Number(port) || (secure ? 443 : 80), secure };
  using socket = disposable(await open(target, place, signal));
  const abort = (): void => void socket.value.destroy(new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  socket.value.write(request);
  try {
    return await readAnswer(socket.value);
  } finally {
    signal.removeEventListener('abort', abort);
  }
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

const longestHead = 16 * 1024;

/** Only the status line counts, and of a redirect where it leads; the rest is not read. */
async function readAnswer(socket: Duplex): Promise<Answer> {
  let head = '';
  for await (const chunk of socket) {
    head += (chunk as Buffer).toString('latin1');
    const status = Number(/^HTTP\/1\.[01] (\d{3})[ \r\n]/.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(status) && head.length > 64) break;
    if (Number.isNaN(status)) continue;
    if (![301, 302, 303, 307, 308].includes(status)) return { status };
    const end = head.indexOf('\r\n\r\n');
    if (end < 0 && head.length < longestHead) continue;
    const location = /^location:[ \t]*(\S+)/im.exec(head.slice(0, end < 0 ? longestHead : end))?.[1];
    return { status, ...(location !== undefined && { location }) };
  }
  throw new Error(head === '' ? 'EOF' : `malformed HTTP response "${head.slice(0, 32)}"`);
}
