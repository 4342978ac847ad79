/**
 * Audit events of builds that end, which staging does and nobody asks for: told of once, as the event is named by its build. What
 * ended while the platform was down is told of when it is back.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Build } from '../resources/types.ts';
import type { Context } from './api.ts';

const TELL_MILLISECONDS = 24 * 3600 * 1000;

/** Call what it returns to end it. */
export function tellBuilds(context: Pick<Context, 'records' | 'audit' | 'now'>): () => void {
  const { records, audit } = context;
  const look = (build: Stored<Build> | undefined): void => {
    const { state, finishedAt, droplet, error } = build?.status ?? {};
    if (build === undefined || (state !== 'STAGED' && state !== 'FAILED')) return;
    // One of long ago was told of, and its event may have been swept since.
    if (finishedAt !== undefined && context.now() - Date.parse(finishedAt) > TELL_MILLISECONDS) return;
    const app = records.apps.get(build.spec.app);
    const space = records.spaceOf(build);
    if (!app || !space) return;
    const key = `build-${state.toLowerCase()}-${build.metadata.name}`;
    if (records.auditEvents.get(key)) return;
    const { guid, name } = build.spec.createdBy;
    void audit.record({
      type: `audit.app.build.${state.toLowerCase()}`,
      key,
      actor: { guid, type: 'user', name },
      target: { guid: app.metadata.name, type: 'app', name: app.spec.displayName },
      space,
      data: {
        build_guid: build.metadata.name,
        package_guid: build.spec.package,
        ...(droplet === undefined ? {} : { droplet_guid: droplet }),
        ...(error === undefined ? {} : { error_id: error.code, error_message: error.message.slice(0, 2_000) }),
      },
    });
  };
  const stop = records.builds.informer.onChange(look);
  for (const build of records.builds.all()) look(build);
  return stop;
}
