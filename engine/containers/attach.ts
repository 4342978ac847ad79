/**
 * The standard input of a container. conmon holds the other end (a pipe, or the terminal's master); we write to a descriptor of our own
 * for the same thing, so that an engine that was restarted finds it as it was.
 */
import { closeSync, constants, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { Socket } from 'node:net';
import { EngineError, type TerminalSize } from '../engine.ts';
import { hasCode, syscall } from '../sys/libc.ts';
import { ProcessHandle } from '../sys/pidfd.ts';
import { resizeTerminal } from '../sys/terminal.ts';
import { TerminalInput } from './terminal-input.ts';

export interface InputRequest {
  /** conmon's process id. */
  monitor: number;
  /** The container's. */
  container: number;
  tty: boolean;
  bundle: string;
}

export function openInput(request: InputRequest): Writable {
  const { monitor, tty } = request;
  const handle = ProcessHandle.open(monitor);
  if (handle === undefined) throw new EngineError('conflict', 'the container has ended');
  try {
    const number = tty ? findMaster(monitor) : findPipe(request);
    if (number === undefined) throw new EngineError('conflict', 'the container has closed its standard input');
    if (tty) return new TerminalInput(handle.duplicate(number));
    // A description of our own: whether it blocks is then our own affair.
    return new PipeInput(openSync(`/proc/${monitor}/fd/${number}`, constants.O_WRONLY | constants.O_NONBLOCK), request);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH', 'EBADF', 'ENXIO'))
      throw new EngineError('conflict', 'the container has ended', { cause: error });
    throw error;
  } finally {
    handle.close();
  }
}

/**
 * Takes effect at once, and not when the holder gets to it: who writes next finds the new size.
 *
 * @param holder  process id of who has the terminal's master: conmon, or the runtime for as long as an exec runs
 */
export function resizeConsole(holder: number, size: TerminalSize): void {
  const handle = ProcessHandle.open(holder);
  if (handle === undefined) return;
  try {
    const number = findMaster(holder);
    if (number === undefined) return;
    const master = handle.duplicate(number);
    try {
      resizeTerminal(master, size);
    } finally {
      closeSync(master);
    }
  } catch (error) {
    // The container has just ended.
    if (!hasCode(error, 'ENOENT', 'ESRCH', 'EBADF', 'EIO')) throw error;
  } finally {
    handle.close();
  }
}

/** Writes to the pipe; its end is told to conmon, who has the pipe open too. */
class PipeInput extends Writable {
  readonly #socket: Socket;
  readonly #request: InputRequest;

  constructor(descriptor: number, request: InputRequest) {
    super();
    this.#request = request;
    this.#socket = new Socket({ fd: descriptor, readable: false, writable: true });
    // The container may end without reading: its exit status tells.
    this.#socket.on('error', () => this.destroy());
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#socket.write(chunk, () => done());
  }

  override _final(done: () => void): void {
    this.#socket.end(() => {
      closeInput(this.#request.bundle);
      done();
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

/** conmon closes a container's input when a client of its attach socket goes. */
function closeInput(bundle: string): void {
  const unix = 1;
  const packetsNonblockingCloseOnExec = 5 | 0o4000 | 0o2000000;
  const directory = openSync(bundle, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const socket = syscall('socket', unix, packetsNonblockingCloseOnExec, 0);
    try {
      // struct sockaddr_un: 108 bytes of path at most, so by the descriptor's short name.
      const path = Buffer.from(`/proc/self/fd/${directory}/attach\0`);
      const address = Buffer.alloc(2 + path.length);
      address.writeUInt16LE(unix, 0);
      path.copy(address, 2);
      syscall('connect', socket, address, address.length);
    } finally {
      closeSync(socket);
    }
  } catch (error) {
    // It has ended, and its input with it.
    if (!hasCode(error, 'ENOENT', 'ECONNREFUSED')) throw error;
  } finally {
    closeSync(directory);
  }
}

/** The writing end of the pipe that the container was started with. */
function findPipe({ monitor, container }: InputRequest): number | undefined {
  const started = link(container, '0');
  const pipes = descriptors(monitor).filter(
    ([number, target]) => target.startsWith('pipe:') && isWriteOnly(monitor, number),
  );
  // The container may have put something else in the place of its input; conmon's own pipes are its input and its report.
  const same = pipes.find(([, target]) => target === started);
  return same === undefined ? undefined : Number(same[0]);
}

function findMaster(monitor: number): number | undefined {
  const found = descriptors(monitor).find(([, target]) => /^\/dev\/(pts\/)?ptmx$/.test(target));
  return found === undefined ? undefined : Number(found[0]);
}

function descriptors(pid: number): [string, string][] {
  return readdirSync(`/proc/${pid}/fd`).map((number) => [number, link(pid, number)]);
}

function link(pid: number, number: string): string {
  try {
    return readlinkSync(join('/proc', String(pid), 'fd', number));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}

function isWriteOnly(pid: number, number: string): boolean {
  const flags = /^flags:\s+([0-7]+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${number}`, 'utf8'))?.[1] ?? '0';
  return (Number.parseInt(flags, 8) & 3) === constants.O_WRONLY;
}
