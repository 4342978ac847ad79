/**
 * RuntimeClasses on a node: it has one OCI runtime (`sampan up --runtime`), whose name is the one handler that it has. A pod that
 * asks for another's, a stronger sandbox say, is not run under this one.
 */
import { ApiError } from '../client/client.ts';
import { runtimeClasses } from '../kinds/resources.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import { AgentError } from './errors.ts';

/** Throws `PodRefused`; the class may be made, or the runtime changed, later. */
export async function checkRuntimeHandler({ client, engine }: NodeContext, { spec }: Pod): Promise<void> {
  const name = spec?.runtimeClassName;
  if (!name) return;
  const { handler } = await client.get(runtimeClasses, name).catch((error: unknown) => {
    if (error instanceof ApiError && error.code === 404)
      throw new AgentError('PodRefused', `RuntimeClass "${name}" not found`);
    throw error;
  });
  const own = engine.info().runtime.name;
  if (handler !== own)
    throw new AgentError('PodRefused', `no runtime for "${handler}" is configured: this node has "${own}"`);
}
