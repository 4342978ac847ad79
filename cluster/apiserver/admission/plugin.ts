/**
 * Admission: what happens to an object between its decoding and the store (Kubernetes "Admission Controllers").
 *
 * A plugin may change the object (`mutate`), then, when every plugin has and the kind's own validation passed, refuse it
 * (`validate`). The order of the list in `plugins.ts` is the order in which they are asked. A plugin looks at the watch cache
 * and writes nothing, so a dry run needs no care; one that counts gives back how to end its reservation.
 *
 * A refusal is a thrown `StatusError`, nearly always `forbidden(request.kind, request.name, …)`.
 */
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import type { User } from '../exchange.ts';

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

export interface AdmissionRequest {
  operation: Operation;
  kind: KindDefinition;
  /** What the object is where it is none of the kind: what a subresource was sent, or how a connection is wanted. */
  sent?: SentKind;
  /** Empty for the object itself; `status`, `finalize`, `binding`, … */
  subresource: string;
  namespace: string;
  /** Empty while a create has only `generateName`. */
  name: string;
  /** Undefined: the server itself, whose writes need nobody's leave. */
  user: User | undefined;
  /** As it would be written; for a delete, as it is; of a connection, how it is wanted (`connect.ts`). */
  object: ApiObject;
  /** As it is; undefined for a create and a connection. */
  old: ApiObject | undefined;
  dryRun: boolean;
  /** Shown to the client. */
  warn: (text: string) => void;
  /** Noted in the audit log. */
  annotate: (key: string, value: string) => void;
}

export interface SentKind {
  group: string;
  version: string;
  kind: string;
}

/** Called once, after the write is shown by the cache, or has failed. */
export type Settle = () => void;

export interface AdmissionPlugin {
  name: string;
  /** Of whatever is written, also what subresources are sent (`admitSent`). The others know the objects alone. */
  judgesAll?: true;
  /** True when others decided of what is another object now: then all are asked once more. */
  mutate?(request: AdmissionRequest): void | Promise<void | boolean>;
  validate?(request: AdmissionRequest): void | Settle | Promise<void | Settle>;
}

export class Admission {
  private readonly plugins: readonly AdmissionPlugin[];

  constructor(plugins: readonly AdmissionPlugin[]) {
    this.plugins = plugins;
  }

  /** What a subresource was sent, before it becomes a change of the object: that one need not be judged again. */
  async admitSent(request: AdmissionRequest): Promise<void> {
    const some = new Admission(this.plugins.filter(({ judgesAll }) => judgesAll === true));
    await some.mutate(request);
    (await some.validate(request))();
  }

  async mutate(request: AdmissionRequest): Promise<void> {
    if (await this.mutateOnce(request)) await this.mutateOnce(request);
  }

  private async mutateOnce(request: AdmissionRequest): Promise<boolean> {
    let again = false;
    for (const plugin of this.plugins) {
      const pending = plugin.mutate?.(request);
      if (pending !== undefined && (await pending) === true) again = true;
    }
    return again;
  }

  async validate(request: AdmissionRequest): Promise<Settle> {
    const settles: Settle[] = [];
    const settle = () => {
      for (const one of settles.splice(0)) one();
    };
    try {
      for (const plugin of this.plugins) {
        const answer = plugin.validate?.(request);
        const found = answer instanceof Promise ? await answer : answer;
        if (found !== undefined) settles.push(found);
      }
    } catch (error) {
      settle();
      throw error;
    }
    return settle;
  }
}

export function isKind(request: AdmissionRequest, ref: { group: string; resource: string }, subresource = ''): boolean {
  return (
    request.kind.resource === ref.resource && request.kind.group === ref.group && request.subresource === subresource
  );
}
