/** Waits for objects over a client: by a watch, with as much time as the caller gives. */
import type { Client, ClientObject } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';

/** Resolves with all objects of the resource when the condition holds for them; rejects with what they were when the time is up. */
export async function when<T extends ClientObject>(
  client: Client,
  resource: TypedResource<T>,
  holds: (objects: Stored<T>[]) => boolean,
  seconds = 60,
): Promise<Stored<T>[]> {
  const informer = createInformer(client, resource);
  const { promise, resolve, reject } = Promise.withResolvers<Stored<T>[]>();
  const look = (): void => {
    const objects = informer.list();
    if (holds(objects)) resolve(objects);
  };
  const timer = setTimeout(() => {
    const what = `${resource.resource} did not come to ${holds.toString()} within ${seconds} s`;
    reject(new Error(`${what}: ${JSON.stringify(informer.list())}`));
  }, seconds * 1000);
  try {
    await informer.synced;
    informer.onChange(look);
    look();
    return await promise;
  } finally {
    clearTimeout(timer);
    informer.close();
  }
}
