/** One connection of a client, from the first byte to the last. */
import type { Socket } from 'node:net';
import type { AuthContext, Connection, ServerChannel, Session } from 'ssh2';
import type { Lockout } from '../uaa/lockout.ts';
import { forward } from './forward.ts';
import { serveSession } from './session.ts';
import { type SshProxyOptions, SshRefusal, type SshTarget } from './ssh.ts';

const LOGIN_MILLISECONDS = 30_000;
const MOST_ATTEMPTS = 3;
const MOST_CHANNELS = 64;
const USER = /^cf:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/(\d{1,5})$/;

interface VisitOptions extends SshProxyOptions {
  lockout: Lockout;
  socket: Socket;
  address: string;
}

export class Visit {
  readonly address: string;
  readonly #options: VisitOptions;
  readonly #gone = new AbortController();
  #target: SshTarget | undefined;
  #attempts = 0;
  #channels = 0;

  constructor(options: VisitOptions) {
    this.#options = options;
    this.address = options.address;
    const { socket } = options;
    const late = setTimeout(() => this.isStranger && socket.destroy(), LOGIN_MILLISECONDS);
    socket.once('close', () => {
      clearTimeout(late);
      this.#gone.abort(new Error('The client went away'));
    });
  }

  get isStranger(): boolean {
    return this.#target === undefined;
  }

  end(): void {
    this.#options.socket.destroy();
  }

  serve(connection: Connection): void {
    connection.on('error', () => undefined); // The socket's close says as much.
    connection.on('authentication', (context) => {
      this.#authenticate(context).catch((error: unknown) => {
        this.#options.log('error', 'An ssh login failed', { error });
        context.reject(['password']);
      });
    });
    connection.on('session', (accept, reject) => {
      const target = this.#enter();
      if (!target) return reject();
      const session: Session = accept();
      session.once('close', () => this.#channels--);
      const { client, log } = this.#options;
      serveSession(session, { client, target, signal: this.#gone.signal, log });
    });
    connection.on('tcpip', (accept, reject, { destIP: host, destPort: port }) => {
      const target = this.#enter();
      if (!target) return reject();
      this.#forward(target, { host, port }, { accept, reject }).finally(() => this.#channels--);
    });
  }

  async #authenticate(context: AuthContext): Promise<void> {
    if (context.method !== 'password') return context.reject(['password']);
    const { lockout, redeem, access, log } = this.#options;
    const [, process, index] = USER.exec(context.username) ?? [];
    const attempt = ++this.#attempts;
    const identity = lockout.remaining(this.address) > 0 ? undefined : await redeem(context.password);
    if (identity && process !== undefined && index !== undefined) {
      try {
        const target = await access(identity, { process, index: Number(index) }, this.#gone.signal);
        lockout.succeeded(this.address);
        this.#target = target;
        this.#endWhen(target, identity.userName);
        return context.accept();
      } catch (error) {
        if (!(error instanceof SshRefusal)) throw error;
        log('info', 'An ssh login was refused', { user: identity.userName, process, reason: error.message });
      }
    } else lockout.failed(this.address);
    context.reject(['password']);
    if (attempt >= MOST_ATTEMPTS) this.#options.socket.end();
  }

  #endWhen({ revoked, app }: SshTarget, user: string): void {
    const { socket, log } = this.#options;
    const end = (): void => {
      if (socket.destroyed) return;
      log('info', 'An ssh connection ends', { app, user, reason: String(revoked.reason) });
      socket.destroy();
    };
    if (revoked.aborted) end();
    else revoked.addEventListener('abort', end, { once: true });
  }

  /** Undefined where no more channels may be opened. */
  #enter(): SshTarget | undefined {
    if (this.#target === undefined || this.#channels >= MOST_CHANNELS) return undefined;
    this.#channels++;
    return this.#target;
  }

  /** Never rejects. */
  async #forward(
    target: SshTarget,
    to: { host: string; port: number },
    answer: { accept: () => ServerChannel; reject: () => void },
  ): Promise<void> {
    const { client, log } = this.#options;
    try {
      await forward({ client, target, to, signal: this.#gone.signal }, answer.accept);
    } catch (error) {
      log('info', 'A connection through ssh could not be made', { app: target.app, to, error: String(error) });
      answer.reject();
    }
  }
}
