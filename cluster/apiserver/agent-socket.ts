/** A WebSocket to a node's agent, for exec from inside the process. `ws` is loaded when the first is opened. */
import { transportSocket } from '../client/transport-socket.ts';
import type { TransportSocket } from '../client/transport.ts';
import type { AgentDialer } from './agent-dialer.ts';
import type { AgentTarget } from './pod-streams.ts';

/** Milliseconds. */
const HANDSHAKE_TIMEOUT = 30_000;

export async function openAgentSocket(
  agents: AgentDialer,
  { address, path }: AgentTarget,
  protocols: string[],
  signal: AbortSignal,
): Promise<TransportSocket> {
  const { WebSocket: Socket } = await import('ws');
  signal.throwIfAborted();
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  const tls = agents.tls(address) as object;
  const socket = new Socket(`wss://${host}:${address.port}${path}`, protocols, {
    ...tls,
    perMessageDeflate: false,
    handshakeTimeout: HANDSHAKE_TIMEOUT,
  });
  const abort = () => socket.terminate();
  signal.addEventListener('abort', abort);
  socket.on('close', () => signal.removeEventListener('abort', abort));
  const wrapped = transportSocket(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', (error) => reject(agents.unreachable(address, error)));
  });
  return wrapped;
}
