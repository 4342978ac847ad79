/** What a pod's node serves: its log; exec, attach and port-forward as connections that change their protocol; and the agent's own pages through `nodes/proxy`. */
import type { IncomingMessage } from 'node:http';
import { nodes, pods } from '../kinds/resources.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { AgentAddress } from './agent-dialer.ts';
import { kindPrefix, objectKey, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { badRequest, conflict, notFound, StatusError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import type { ResourceRequest } from './route.ts';

const LOG_OPTIONS = [
  'follow',
  'previous',
  'tailLines',
  'sinceTime',
  'sinceSeconds',
  'limitBytes',
  'timestamps',
  'stream',
  // Of ours: see `log-collector.ts` of the node agent.
  'untilTime',
  'collect',
];

const MESSAGE_LIMIT = 2048;

export interface AgentTarget {
  address: AgentAddress;
  /** On the agent, with its query. */
  path: string;
}

export async function podLog(core: Core, exchange: Exchange, request: ResourceRequest): Promise<void> {
  const pod = findPod(core, request);
  const container = containerOf(pod, exchange.query.get('container') ?? '');
  if (!pod.spec?.nodeName) {
    // Nothing can have been written yet.
    exchange.responder.head(200, { 'content-type': 'text/plain', 'content-length': '0' });
    return exchange.responder.end();
  }
  const query = new URLSearchParams();
  for (const option of LOG_OPTIONS) {
    const value = exchange.query.get(option);
    if (value !== null && value !== '') query.set(option, value);
  }
  const text = query.toString();
  const path = `/containerLogs/${request.namespace}/${request.name}/${container}${text === '' ? '' : `?${text}`}`;
  await relay(core, exchange, { address: core.agents.address(pod.spec.nodeName), path }, refuseAnswer);
}

export async function nodeProxy(core: Core, exchange: Exchange, request: ResourceRequest): Promise<void> {
  const key = kindPrefix(nodes) + request.name;
  if (!core.cache.resource(kindPrefix(nodes)).objects.has(key)) throw notFound(nodes, request.name);
  const path = `/${request.rest.split('/').map(encodeURIComponent).join('/')}`;
  const query = exchange.query.toString();
  await relay(core, exchange, {
    address: core.agents.address(request.name),
    path: query === '' ? path : `${path}?${query}`,
  });
}

/** Where exec, attach or port-forward of this request leads. Throws what the client is answered instead of an upgrade. */
export function streamTarget(core: Core, request: ResourceRequest, query: URLSearchParams): AgentTarget {
  const pod = findPod(core, request);
  if (request.subresource === 'portforward') return forwardTarget(core, request, pod);
  const container = containerOf(pod, query.get('container') ?? '');
  if (!pod.spec?.nodeName) throw conflict(pods, request.name, `pod ${request.name} does not have a host assigned`);
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed')
    throw badRequest(`cannot exec into a container in a completed pod; current phase is ${pod.status.phase}`);
  const asked = new URLSearchParams();
  const streams = { stdin: 'input', stdout: 'output', stderr: 'error', tty: 'tty' };
  for (const [name, agentName] of Object.entries(streams)) {
    const value = query.get(name);
    if (value === 'true' || value === '1') asked.set(agentName, '1');
  }
  if (asked.size === 0) throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  if (request.subresource === 'exec') {
    const command = query.getAll('command');
    if (command.length === 0) throw badRequest('you must specify at least one command for the container');
    for (const word of command) asked.append('command', word);
  }
  const path = `/${request.subresource}/${request.namespace}/${request.name}/${container}?${asked.toString()}`;
  return { address: core.agents.address(pod.spec.nodeName), path };
}

function forwardTarget(core: Core, { namespace, name }: ResourceRequest, pod: Pod): AgentTarget {
  if (!pod.spec?.nodeName) throw badRequest(`pod ${name} does not have a host assigned`);
  return { address: core.agents.address(pod.spec.nodeName), path: `/portForward/${namespace}/${name}` };
}

export function findPod(core: Core, { namespace, name }: ResourceRequest): Pod {
  const kind = core.registry.find('', 'v1', 'pods');
  const cached =
    kind === undefined
      ? undefined
      : core.cache.resource(kindPrefix(pods)).objects.get(objectKey(kind, namespace, name));
  if (cached === undefined) throw notFound(pods, name);
  return objectOf(cached) as Pod;
}

/** The one that is named, or the only one there is. */
function containerOf(pod: Pod, asked: string): string {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec ?? {};
  const name = pod.metadata.name ?? '';
  const all = [...containers, ...initContainers, ...ephemeralContainers].map((container) => container.name);
  if (asked !== '') {
    if (all.includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  const usual = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
  if (usual !== undefined && all.includes(usual)) return usual;
  const [first, ...others] = containers;
  if (first !== undefined && others.length === 0) return first.name;
  const inits =
    initContainers.length === 0
      ? ''
      : ` or one of the init containers: [${initContainers.map((one) => one.name).join(' ')}]`;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: [${containers.map((one) => one.name).join(' ')}]${inits}`,
  );
}

/** An agent's refusal is text; clients of the API are given a Status. */
async function refuseAnswer(answer: IncomingMessage): Promise<void> {
  const code = answer.statusCode ?? 502;
  if (code < 400) return;
  let text = '';
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    text += chunk.toString();
    if (text.length > MESSAGE_LIMIT) break;
  }
  const reasons: Record<number, string> = { 400: 'BadRequest', 404: 'NotFound', 500: 'InternalError' };
  throw new StatusError(code, reasons[code] ?? 'ServiceUnavailable', text.trim().slice(0, MESSAGE_LIMIT));
}

async function relay(
  core: Core,
  exchange: Exchange,
  { address, path }: AgentTarget,
  check?: (answer: IncomingMessage) => Promise<void>,
): Promise<void> {
  const { responder } = exchange;
  const answer = await core.agents.get(address, path, (abort) => responder.onClose(abort));
  await check?.(answer);
  responder.head(answer.statusCode ?? 502, { 'content-type': answer.headers['content-type'] ?? 'text/plain' });
  answer.on('data', (chunk: Buffer) => {
    if (!responder.write(chunk)) answer.pause();
  });
  responder.onDrain(() => answer.resume());
  answer.on('end', () => responder.end());
  answer.on('error', () => responder.destroy());
}
