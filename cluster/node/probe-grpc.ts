/** The gRPC health check (grpc.health.v1.Health/Check): https://github.com/grpc/grpc/blob/master/doc/health-checking.md */
import { connect } from 'node:http2';
import type { CheckResult } from './probe-check.ts';

export async function checkGrpc(ip: string, port: number, service: string, signal: AbortSignal): Promise<CheckResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CheckResult>();
  const session = connect(`http://${ip}:${port}`);
  const abort = (): void => session.destroy(new Error('no answer in time'));
  signal.addEventListener('abort', abort, { once: true });
  session.once('error', reject);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'kube-probe/1.30',
  });
  let body = Buffer.alloc(0);
  let grpcStatus: string | undefined;
  stream.once('error', reject);
  stream.on('response', (headers) => {
    grpcStatus = headers['grpc-status']?.toString();
  });
  stream.on('trailers', (headers) => {
    grpcStatus = headers['grpc-status']?.toString() ?? grpcStatus;
  });
  stream.on('data', (chunk: Buffer) => {
    if (body.length < 1024) body = Buffer.concat([body, chunk]);
  });
  stream.once('end', () => {
    if (grpcStatus !== '0') resolve({ ok: false, message: `error: rpc status ${grpcStatus ?? 'missing'}` });
    else if (servingStatus(body) === 1) resolve({ ok: true, message: 'service healthy' });
    else resolve({ ok: false, message: `service unhealthy (responded with ${servingStatus(body)})` });
  });
  stream.end(request(service));
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
    session.destroy();
  }
}

/** A length-prefixed message with field 1, the service's name. */
function request(service: string): Buffer {
  const name = Buffer.from(service).subarray(0, 127);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Field 1 of the answer, an enumeration where 1 is SERVING. */
function servingStatus(body: Buffer): number {
  return body[5] === 0x08 ? (body[6] ?? 0) : 0;
}
