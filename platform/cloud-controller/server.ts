/** Serves the endpoint table over HTTP: authentication, bodies, errors. */
import { randomUUID } from 'node:crypto';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ApiError } from '#cluster/client/client.ts';
import { readBounded } from '#lib/read-bounded.ts';
import type { Identity, TokenVerifier } from '../uaa/uaa.ts';
import { UaaError } from '../uaa/uaa.ts';
import type { ApiRequest, Context, Endpoint, Json } from './api.ts';
import { CloudFoundryError, notAuthorized } from './errors.ts';
import { errorList } from './jobs.ts';
import { clientAddress } from './rate-limits.ts';
import { isObject } from './validate.ts';

const BODY_LIMIT = 8 * 1024 * 1024;
/** Where clients begin, and what watches over the platform. */
const UNCOUNTED = new Set(['/', '/v3', '/healthz']);
const EXCEEDED = {
  RateLimitExceeded: 'Rate Limit Exceeded',
  IPBasedRateLimitExceeded:
    'Rate Limit Exceeded: Unauthenticated requests from this IP address have exceeded the limit. Please log in.',
};
const NOBODY: Identity = { userId: '', userName: '', clientId: '', origin: '', scopes: [], admin: false, reads: 'own' };

export function createServer(context: Context, endpoints: Endpoint[], tokens: TokenVerifier): FastifyInstance {
  const app = Fastify({
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: true,
    requestIdHeader: 'x-vcap-request-id',
    genReqId: () => randomUUID(),
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 300 },
    // Uploads over slow links take their time; the router in front has its own limits.
    requestTimeout: 0,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    // Uploads stay a stream for their handler; the rest is small and read below.
    done(null, payload);
  });
  app.addHook('onSend', async (request, reply) => {
    reply.header('x-vcap-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
  });
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, context));
  app.setNotFoundHandler((request, reply) =>
    sendError(new CloudFoundryError('NotFound', 'Unknown request'), request, reply, context),
  );
  for (const endpoint of endpoints) {
    app.route({
      method: endpoint.method,
      url: endpoint.path,
      handler: (request, reply) => serve(context, endpoint, { request, reply, tokens }),
    });
  }
  return app;
}

interface Call {
  request: FastifyRequest;
  reply: FastifyReply;
  tokens: TokenVerifier;
}

async function serve(context: Context, endpoint: Endpoint, call: Call): Promise<FastifyReply> {
  const { request, reply } = call;
  const identity = await admitted(context, endpoint, call);
  if (endpoint.auth === 'admin' && !identity.admin) throw notAuthorized();
  const mutating = endpoint.method !== 'GET';
  const scopes = [mutating ? 'cloud_controller.write' : 'cloud_controller.read', endpoint.scope];
  const global = identity.admin || (!mutating && identity.reads !== 'own');
  if (endpoint.auth === 'user' && !global && !identity.scopes.some((one) => scopes.includes(one)))
    throw notAuthorized();
  const [path = '', query = ''] = splitUrl(request.url);
  const text = endpoint.rawBody ? '' : await readText(request.raw, request.headers['content-length']);
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new Error('The client went away'));
  });
  const apiRequest: ApiRequest = {
    method: endpoint.method,
    params: request.params as Record<string, string>,
    query: new URLSearchParams(query),
    path,
    headers: request.headers,
    body: bodyOf(text, request.headers['content-type']),
    text,
    identity,
    raw: request.raw,
    signal: gone.signal,
  };
  const result = await endpoint.handle(apiRequest);
  reply.code(result.status);
  if (result.headers) reply.headers(result.headers);
  if (result.stream) return reply.type(result.type ?? 'application/octet-stream').send(result.stream);
  if (result.body === undefined) return reply.send();
  const bytes = Buffer.isBuffer(result.body) ? result.body : undefined;
  if (result.type) return reply.type(result.type).send(bytes ?? String(result.body));
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(result.body));
}

/** Who asks, counted: a token that is not valid is counted as none. */
async function admitted(context: Context, endpoint: Endpoint, { request, reply, tokens }: Call): Promise<Identity> {
  if (UNCOUNTED.has(endpoint.path)) return NOBODY;
  let identity: Identity | undefined;
  let problem: unknown;
  try {
    if (endpoint.auth !== 'none') identity = await authenticate(request, tokens);
  } catch (error) {
    problem = error;
  }
  const address = clientAddress(request.raw.socket.remoteAddress, request.headers['x-forwarded-for']);
  const counted = context.rates.count(identity, address);
  if (counted) reply.headers(counted.headers);
  if (counted?.exceeded) throw new CloudFoundryError(counted.exceeded, EXCEEDED[counted.exceeded]);
  if (problem !== undefined) throw problem;
  return identity ?? NOBODY;
}

async function authenticate(request: FastifyRequest, tokens: TokenVerifier): Promise<Identity> {
  const { authorization } = request.headers;
  if (!authorization) throw new CloudFoundryError('NotAuthenticated', 'Authentication error');
  try {
    return await tokens.verify(authorization);
  } catch (cause) {
    if (!(cause instanceof UaaError)) throw cause;
    throw new CloudFoundryError('InvalidAuthToken', 'Invalid Auth Token', { cause });
  }
}

function splitUrl(url: string): [string, string] {
  const question = url.indexOf('?');
  return question < 0 ? [url, ''] : [url.slice(0, question), url.slice(question + 1)];
}

async function readText(raw: AsyncIterable<Buffer>, length: string | undefined): Promise<string> {
  if (Number(length ?? 0) > BODY_LIMIT) throw tooLarge();
  return (await readBounded(raw, BODY_LIMIT, tooLarge)).toString('utf8');
}

function tooLarge(): CloudFoundryError {
  return new CloudFoundryError('UnprocessableEntity', `The request body is larger than ${BODY_LIMIT} bytes`);
}

function bodyOf(text: string, type: string | undefined): Json {
  if (text.trim() === '' || /yaml/i.test(type ?? '')) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new CloudFoundryError('MessageParseError', 'Request invalid due to parse error: invalid request body', {
      cause,
    });
  }
  if (!isObject(parsed)) {
    throw new CloudFoundryError('MessageParseError', 'Request invalid due to parse error: invalid request body');
  }
  return parsed;
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, context: Context): FastifyReply {
  let known = error;
  if (error instanceof ApiError && error.code === 0) {
    known = new CloudFoundryError('ServiceUnavailable', 'The cluster does not answer. Try again.', { cause: error });
  } else if (error instanceof ApiError && error.reason === 'Conflict') {
    known = new CloudFoundryError('UnprocessableEntity', 'Somebody else changed it at the same time. Try again.');
  } else if (!(error instanceof CloudFoundryError)) {
    const status = (error as { statusCode?: unknown }).statusCode;
    if (typeof status === 'number' && status >= 400 && status < 500) {
      known = new CloudFoundryError('UnprocessableEntity', (error as Error).message);
    }
  }
  const status = known instanceof CloudFoundryError ? known.status : 500;
  if (status >= 500) context.log('error', 'A request failed', { method: request.method, url: request.url, error });
  return reply
    .code(status)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ errors: errorList(known) }));
}
