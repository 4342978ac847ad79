/**
 * A command in a container over `v5.channel.k8s.io`: each message begins with a byte that names its channel. Version 5
 * added channel 255, which closes the one named by its second byte: so a command sees the end of its standard input.
 */
import { PassThrough, Writable } from 'node:stream';
import { drained } from '#lib/drained.ts';
import { pods } from '../kinds/resources.ts';
import type { Status } from '../kinds/types/meta.ts';
import { connectionError, errorFromStatus } from './api-errors.ts';
import { ApiError, type PodExecOptions, type PodExecSession } from './client.ts';
import { resourcePath, withQuery } from './resource-path.ts';
import type { Transport, TransportSocket } from './transport.ts';

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const protocol = 'v5.channel.k8s.io';
const stdinPiece = 32 * 1024;
const sendLimit = 1 << 20;

/** The status that ends every session: `Success`, or a `NonZeroExitCode` failure whose cause `ExitCode` has the number. */
function exitCode(status: Status): number {
  if (status.status === 'Success') return 0;
  const code = Number(status.details?.causes?.find((cause) => cause.reason === 'ExitCode')?.message);
  if (status.reason === 'NonZeroExitCode' && Number.isInteger(code)) return code;
  throw errorFromStatus(status);
}

function stdinOf(socket: TransportSocket): Writable {
  const send = async (chunk: Buffer): Promise<void> => {
    for (let start = 0; start < chunk.byteLength; start += stdinPiece) {
      const piece = chunk.subarray(start, start + stdinPiece);
      const message = Buffer.allocUnsafe(piece.byteLength + 1);
      message[0] = channels.stdin;
      piece.copy(message, 1);
      socket.send(message);
      if (socket.bufferedBytes > sendLimit) await socket.drained?.(sendLimit);
    }
  };
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      send(chunk).then(() => callback(), callback);
    },
    final(callback) {
      socket.send(Buffer.from([channels.close, channels.stdin]));
      callback();
    },
  });
}

export async function openExecSession(
  transport: Transport,
  pod: { name: string; namespace: string },
  options: PodExecOptions,
): Promise<PodExecSession> {
  const { command, container, stdin = false, tty = false, signal } = options;
  const path = withQuery(resourcePath(pods, { ...pod, subresource: 'exec' }), {
    container,
    command,
    stdin,
    stdout: true,
    stderr: !tty,
    tty,
  });
  const what = `exec in ${pod.namespace}/${pod.name}`;
  const open = async (): Promise<TransportSocket> => transport.openSocket(path, [protocol], signal && { signal });
  const socket = await open().catch((error: unknown) => {
    signal?.throwIfAborted();
    throw connectionError(error, what);
  });
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const input = stdin ? stdinOf(socket) : undefined;

  async function pump(): Promise<{ code: number }> {
    let status: Status | undefined;
    for await (const message of socket.messages) {
      const data = message.subarray(1);
      if (message[0] === channels.error) {
        status = JSON.parse(data.toString()) as Status;
      } else if (message[0] === channels.stdout || message[0] === channels.stderr) {
        const stream = message[0] === channels.stdout ? stdout : stderr;
        if (data.byteLength > 0 && !stream.write(data)) await drained(stream);
      }
    }
    if (!status) throw new ApiError(0, 'ConnectionClosed', `${what}: the connection ended before the exit status came`);
    return { code: exitCode(status) };
  }

  const exited = pump()
    .catch((error: unknown) => {
      signal?.throwIfAborted();
      throw connectionError(error, what);
    })
    .finally(() => {
      stdout.end();
      stderr.end();
      input?.destroy();
      socket.close();
    });
  // Whoever only reads the output must not crash the process by an exit status that nobody awaits.
  exited.catch(() => undefined);
  const resize = ({ columns, rows }: { columns: number; rows: number }): void => {
    const size = JSON.stringify({ Width: columns, Height: rows });
    socket.send(Buffer.concat([Buffer.from([channels.resize]), Buffer.from(size)]));
  };
  return { stdout, stderr, resize, exited, ...(input && { stdin: input }) };
}
