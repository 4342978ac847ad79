import { createServer } from 'node:net';

/** Can a TCP port be listened on, on every address of this host? */
export function portIsFree(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const server = createServer();
    server.once('error', () => answer(false));
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => server.close(() => answer(true)));
  });
}

/** A TCP port that nobody listened on a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((answer, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen({ port: 0, host: '0.0.0.0' }, () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === 'object'
          ? answer(address.port)
          : fail(new Error('listening on a free port gave no address')),
      );
    });
  });
}
