/** The catalogue: one service with its plans. */
import type { Recipe } from '../image/recipe.ts';
import { SERVICE_ID } from '../plans.ts';
import { BrokerError, type Plan } from '../postgres.ts';
import { SCHEMAS } from './parameters.ts';

/** Seconds: longer than any operation is given. */
const POLLING = 2 * 60 * 60;

export function maintenanceOf(recipe: Recipe): { version: string; description: string } {
  return {
    version: recipe.version,
    description: `PostgreSQL ${recipe.major} of ${recipe.suite}; the server starts anew`,
  };
}

export function catalog(plans: readonly Plan[], recipe: Recipe): object {
  return {
    services: [
      {
        id: SERVICE_ID,
        name: 'postgres',
        description: `PostgreSQL ${recipe.major}: a server of its own for each instance, with backups`,
        tags: ['postgres', 'postgresql', 'relational', 'sql'],
        bindable: true,
        instances_retrievable: true,
        bindings_retrievable: true,
        plan_updateable: true,
        allow_context_updates: false,
        metadata: {
          displayName: 'PostgreSQL',
          longDescription:
            'A PostgreSQL server in a pod with a volume. Each binding has its own password; backups are taken every day, and restored by cf update-service.',
          providerDisplayName: 'Sampan',
          shareable: true,
        },
        plans: plans.map((plan) => ({
          id: plan.id,
          name: plan.name,
          description: plan.description,
          free: true,
          bindable: true,
          plan_updateable: true,
          maximum_polling_duration: POLLING,
          maintenance_info: maintenanceOf(recipe),
          schemas: SCHEMAS,
          metadata: {
            displayName: plan.name,
            bullets: [`${plan.memoryMb} MB of memory`, `${plan.diskMb} MB of disk`, `${plan.connections} connections`],
          },
        })),
      },
    ],
  };
}

/** @throws BrokerError 400 where the catalogue has no such thing */
export function planById(plans: readonly Plan[], service: string, id: string): Plan {
  if (service !== SERVICE_ID) throw new BrokerError(400, `There is no service ${JSON.stringify(service)} here`);
  const plan = plans.find((one) => one.id === id);
  if (plan === undefined) throw new BrokerError(400, `There is no plan ${JSON.stringify(id)} of this service`);
  return plan;
}
