/**
 * Why an app was restarted, moved, or does not start: on one screen, from what its pods show, what Kubernetes told of them, what was
 * done to the app, and the last lines of what ended. This file says it; `facts.ts` finds out. Pure.
 */

export type FindingKind =
  /** It used more memory than it may. */
  | 'oom'
  /** It ended by itself. */
  | 'crash'
  /** It was killed as its health check failed. */
  | 'probe'
  /** The node took it away. */
  | 'eviction'
  /** No node has room for it. */
  | 'unschedulable'
  | 'image'
  /** The node refused it, or could not prepare it. */
  | 'node';

export interface Finding {
  kind: FindingKind;
  /** ISO 8601. */
  at: string;
  /** One sentence without its full stop. */
  message: string;
  process: string;
  index: number | null;
  /** The last that it wrote before. */
  lines?: string[];
}

export interface InstanceFact {
  process: string;
  index: number;
  state: 'RUNNING' | 'STARTING' | 'CRASHED' | 'DOWN' | 'STOPPING';
  /** Serves requests. */
  ready: boolean;
  restarts: number;
  since: string | null;
  node: string | null;
  details: string | null;
}

export interface Change {
  at: string;
  /** `ann scaled it` … */
  message: string;
}

export interface Facts {
  name: string;
  state: 'STARTED' | 'STOPPED';
  memoryMb: number;
  /** Why the newest deployment did not come through. */
  deployment?: { at: string; error: string };
  instances: InstanceFact[];
  /** Newest first. */
  findings: Finding[];
  /** Newest first. */
  changes: Change[];
}

export interface Diagnosis {
  /** What there is to say, in one sentence. */
  summary: string;
  /** What may be done about it. */
  hint: string | null;
  instances: InstanceFact[];
  findings: Finding[];
  changes: Change[];
}

const MOST_FINDINGS = 8;
const MOST_CHANGES = 5;

export function diagnose(facts: Facts): Diagnosis {
  const { instances, findings, changes } = facts;
  const [cause] = findings;
  return {
    summary: summaryOf(facts),
    hint: hintOf(facts, cause),
    instances,
    findings: findings.slice(0, MOST_FINDINGS),
    changes: changes.slice(0, MOST_CHANGES),
  };
}

function summaryOf({ name, state, instances, findings, deployment, changes }: Facts): string {
  if (state === 'STOPPED') {
    const stop = changes.find(({ message }) => /stopped it/.test(message));
    return `${name} is stopped${stop ? `: ${stop.message} at ${stop.at}` : ''}.`;
  }
  if (instances.length === 0) return `${name} is started, and has no instances: scale it up.`;
  const bad = instances.filter(({ state: one }) => one !== 'RUNNING');
  const [cause] = findings;
  const because = cause ? `: ${cause.message}` : '';
  if (bad.length > 0) {
    const details = because || (bad[0]?.details ? `: ${bad[0].details}` : '');
    const verb = bad.every(({ state: one }) => one === 'STARTING') ? 'still starting' : 'not running';
    return `${bad.length} of ${instances.length} ${plural(instances.length, 'instance')} of ${name} ${bad.length === 1 ? 'is' : 'are'} ${verb}${details}.`;
  }
  if (deployment) return `${name} runs its old version, as the new one failed: ${deployment.error.replace(/\.$/, '')}.`;
  const unready = instances.filter(({ ready }) => !ready).length;
  if (unready > 0) return `${name} runs, and ${unready} of ${instances.length} get no requests: not ready.`;
  if (!cause) return `${name} runs, and nothing went wrong with it lately.`;
  return `${name} runs again. Last trouble at ${cause.at}: ${cause.message}.`;
}

function hintOf({ name, memoryMb, deployment, instances }: Facts, cause: Finding | undefined): string | null {
  const troubled = instances.some(({ state }) => state !== 'RUNNING');
  if (!troubled && deployment) return `See what it wrote with \`sampan logs ${name} --recent\`, and push again.`;
  switch (cause?.kind) {
    case undefined:
      return null;
    case 'oom':
      return `Give it more memory: \`sampan scale ${name} -m ${memoryMb * 2}M\`.`;
    case 'probe':
      return 'It must listen on $PORT at 0.0.0.0 and answer in time; a slow start takes a longer timeout (`timeout:` in the manifest).';
    case 'crash':
      return `See what it wrote with \`sampan logs ${name} --recent\`.`;
    case 'unschedulable':
      return `Scale something down, give it less with \`sampan scale ${name} -m SIZE\`, or add a node.`;
    case 'image':
      return 'Its image is not in the registry any more, or the registry does not answer: push it again.';
    case 'eviction':
    case 'node':
      return 'It was started anew elsewhere if there was room; `kubectl describe node` says how the node fares.';
  }
}

function plural(count: number, word: string): string {
  return count === 1 ? word : `${word}s`;
}
