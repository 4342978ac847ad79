/** The IngressClass `sampan`: made once for a cluster, and from then on the administrator's. That it was made is noted at the namespace `kube-system`. */
import { ApiError, type Client } from '#cluster/client/client.ts';
import { ingressClasses, namespaces } from '#cluster/kinds/resources.ts';
import { CONTROLLER, DEFAULT_ANNOTATION } from './ingress.ts';

const HOME = 'kube-system';
const MADE = 'platform.sampan.dev/ingress-class-made';

export async function ensureIngressClass(client: Client): Promise<void> {
  const { metadata } = await client.get(namespaces, HOME);
  if (metadata.annotations?.[MADE] !== undefined) return;
  const { items } = await client.list(ingressClasses);
  const taken = items.some((one) => one.metadata.annotations?.[DEFAULT_ANNOTATION] === 'true');
  const annotations: Record<string, string> = taken ? {} : { [DEFAULT_ANNOTATION]: 'true' };
  try {
    await client.create(ingressClasses, {
      metadata: { name: 'sampan', annotations },
      spec: { controller: CONTROLLER },
    });
  } catch (error) {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
  }
  await client.patch(namespaces, HOME, { type: 'merge', body: { metadata: { annotations: { [MADE]: 'true' } } } });
}
