/** `/events`: what happened since, and what happens until. */
import { once } from 'node:events';
import { timerOf } from '#lib/longest-timer.ts';
import type { Call } from './call.ts';
import { DockerError } from './errors.ts';
import { anyOf, type Filters, hasLabels, parseFilters } from './filters.ts';
import { KEPT_HAPPENINGS, type Happening } from './happenings.ts';
import { momentBefore } from './lifecycle.ts';

const FILTERS = [
  'container',
  'event',
  'image',
  'label',
  'type',
  'volume',
  'daemon',
  'network',
  'scope',
  'plugin',
  'service',
  'node',
  'secret',
  'config',
];
/** Of what is not there nothing happens. */
const NEVER = ['daemon', 'plugin', 'service', 'node', 'secret', 'config'];

/** How far a client may fall behind, besides what it was told of the past. */
const MOST_WAITING = 1000;

export async function events(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), FILTERS);
  const since = moment(call, 'since');
  const until = moment(call, 'until');
  const { response } = call;
  const { happenings } = call.docker;
  const queue: Happening[] = happenings.past(since);
  let wake: (() => void) | undefined;
  const gone = new AbortController();
  const unlisten = happenings.listen((happening) => {
    queue.push(happening);
    // It does not read: cut off, it can ask again for what was since; held, it would take our memory.
    if (queue.length > MOST_WAITING + KEPT_HAPPENINGS) response.destroy();
    wake?.();
  });
  response.on('close', () => gone.abort());
  const timer = until === undefined ? undefined : setTimeout(() => gone.abort(), timerOf(until - Date.now()));
  gone.signal.addEventListener('abort', () => wake?.());
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  try {
    for (;;) {
      const happening = queue.shift();
      if (happening !== undefined) {
        const late = until !== undefined && happening.timeNano > until * 1_000_000;
        if (late || !isFitting(filters, happening)) continue;
        if (!response.write(`${JSON.stringify(happening)}\n`)) await once(response, 'drain', { signal: gone.signal });
        continue;
      }
      if (gone.signal.aborted || (until !== undefined && until <= Date.now())) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    unlisten();
    response.end();
  }
}

function isFitting(filters: Filters, { Type, Action, Actor }: Happening): boolean {
  const { ID, Attributes } = Actor;
  const isContainer = (value: string): boolean =>
    Type === 'container' &&
    (ID === value || Attributes['name'] === value || (value.length >= 12 && ID.startsWith(value)));
  return (
    anyOf(filters, 'type', (value) => value === Type) &&
    anyOf(filters, 'event', (value) => value === Action || value === Action.split(':')[0]) &&
    anyOf(filters, 'container', isContainer) &&
    anyOf(filters, 'image', (value) => [Attributes['image'], ID, Attributes['name']].includes(value)) &&
    anyOf(filters, 'volume', (value) => Type === 'volume' && ID === value) &&
    anyOf(filters, 'scope', (value) => value === 'local') &&
    NEVER.every((name) => anyOf(filters, name, () => false)) &&
    anyOf(
      filters,
      'network',
      (value) => Type === 'network' && (ID.startsWith(value) || Attributes['name'] === value),
    ) &&
    hasLabels(filters, Attributes)
  );
}

function moment(call: Call, name: string): number | undefined {
  const text = call.query.get(name) ?? '';
  if (text === '') return undefined;
  try {
    return momentBefore(text);
  } catch (cause) {
    throw new DockerError(400, `invalid parameter: ${name}=${JSON.stringify(text)} is no time`, { cause });
  }
}
