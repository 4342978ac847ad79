import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { UserMetadata } from '../../resources/types.ts';
import type { Collection } from '../records.ts';
import { mergeMetadata, Reader } from '../validate.ts';

interface Described extends ClientObject {
  spec: { userMetadata?: UserMetadata };
}

/** What a PATCH does of which only the `metadata` may be changed. */
export function changeMetadata<T extends Described>(
  collection: Collection<T>,
  object: Stored<T>,
  body: unknown,
): Promise<Stored<T>> {
  const reader = new Reader(body).only('metadata');
  const metadata = reader.metadata();
  reader.done();
  return collection.modify(object.metadata.name, (current) => {
    const { spec }: Described = current;
    spec.userMetadata = mergeMetadata(spec.userMetadata, metadata);
    return current;
  });
}
