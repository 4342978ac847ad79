/** Serves the Open Service Broker API on the loopback, to whoever has the password. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import type { PostgresContext } from '../controller/context.ts';
import { BrokerError } from '../postgres.ts';
import { bind, type BindingAsked, fetchBinding, lastBindingOperation, unbind } from './bindings.ts';
import { catalog } from './catalog.ts';
import { type Answer, deprovision, fetchInstance, lastOperation, provision, update } from './instances.ts';
import { asFields, identifier } from './read.ts';

export interface BrokerServer {
  port: number;
  close(): Promise<void>;
}

const SOON_SECONDS = 2;

type Handler = (context: PostgresContext, asked: BindingAsked) => Answer | Promise<Answer>;

const INSTANCE = '/v2/service_instances/:instance';
const BINDING = `${INSTANCE}/service_bindings/:binding`;

const ROUTES: ['GET' | 'PUT' | 'PATCH' | 'DELETE', string, Handler][] = [
  ['GET', '/v2/catalog', (context) => ({ status: 200, body: catalog(context.plans, context.recipe) })],
  ['PUT', INSTANCE, provision],
  ['PATCH', INSTANCE, update],
  ['DELETE', INSTANCE, deprovision],
  ['GET', INSTANCE, fetchInstance],
  ['GET', `${INSTANCE}/last_operation`, lastOperation],
  ['PUT', BINDING, bind],
  ['DELETE', BINDING, unbind],
  ['GET', BINDING, fetchBinding],
  ['GET', `${BINDING}/last_operation`, lastBindingOperation],
];

export async function startBrokerServer(
  context: PostgresContext,
  login: { username: string; password: string },
): Promise<BrokerServer> {
  const app = Fastify({ bodyLimit: 256 * 1024, forceCloseConnections: true, routerOptions: { maxParamLength: 300 } });
  const expected = digest(`Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`);
  app.addHook('onRequest', async (request, reply) => {
    const identity = request.headers['x-broker-api-request-identity'];
    if (typeof identity === 'string') reply.header('x-broker-api-request-identity', identity);
    if (!timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) {
      reply.header('www-authenticate', 'Basic realm="broker"');
      throw new BrokerError(401, 'The name or the password is wrong.');
    }
    if (!/^2\.\d+$/.test(String(request.headers['x-broker-api-version'] ?? '')))
      throw new BrokerError(412, 'X-Broker-API-Version must be 2 point something; this broker speaks 2.17.');
  });
  app.setErrorHandler((error, _request, reply) => refuse(context, error, reply));
  app.setNotFoundHandler((_request, reply) => refuse(context, new BrokerError(404, 'There is nothing here.'), reply));
  for (const [method, url, handler] of ROUTES) {
    app.route({ method, url, handler: (request, reply) => serve(context, handler, request, reply) });
  }
  await app.listen({ host: '127.0.0.1', port: 0 });
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
}

async function serve(
  context: PostgresContext,
  handler: Handler,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  // Before it has seen all databases it knows of none.
  await context.databases.synced;
  const params = request.params as { instance?: string; binding?: string };
  const { status, body } = await handler(context, {
    instance: params.instance === undefined ? '' : identifier(params.instance, 'The id of the instance'),
    binding: params.binding === undefined ? '' : identifier(params.binding, 'The id of the binding'),
    body: asFields(request.body, 'The request'),
    query: new URLSearchParams(request.url.split('?')[1] ?? ''),
  });
  // Most of what is not there yet is there soon.
  if (status === 202 || (body as { state?: string }).state === 'in progress') reply.header('retry-after', SOON_SECONDS);
  return await reply.code(status).send(body);
}

async function refuse(context: PostgresContext, error: unknown, reply: FastifyReply): Promise<FastifyReply> {
  if (error instanceof BrokerError) {
    const named = error.code === undefined ? {} : { error: error.code };
    return await reply.code(error.status).send({ ...named, description: error.message });
  }
  // What Fastify refuses by itself: a body that is no JSON, or too large.
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if (statusCode !== undefined && statusCode < 500) return await reply.code(statusCode).send({ description: message });
  context.log('error', 'A request to the PostgreSQL broker failed', { error: String(error) });
  return await reply.code(500).send({ description: 'The request could not be done now: try again.' });
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
