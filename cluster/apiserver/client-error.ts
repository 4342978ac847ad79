/** What is said to a client whose request cannot be read as HTTP, or does not come in time: still a Status. */
import type { Duplex } from 'node:stream';
import { StatusError } from './errors.ts';

const ERRORS: Readonly<Record<string, StatusError>> = {
  ERR_HTTP_REQUEST_TIMEOUT: new StatusError(408, 'Timeout', 'the request did not arrive in time: send it faster'),
  HPE_HEADER_OVERFLOW: new StatusError(431, 'RequestHeaderFieldsTooLarge', 'the headers of the request are too large'),
};
const MALFORMED = new StatusError(400, 'BadRequest', 'the request is not valid HTTP');
const PHRASES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Nobody is there any more, or a response is under way that must not be mixed with another.
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = ERRORS[error.code ?? ''] ?? MALFORMED;
  const body = JSON.stringify(status.status());
  const head = [
    `HTTP/1.1 ${status.code} ${PHRASES[status.code]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
