/** What `kubectl explain` says of the fields that every object has. Of other built-in fields the documents hold shapes, no words. */
import type { Schema } from '../kinds/schema.ts';

const OBJECT_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

const OBJECT: Readonly<Record<string, string>> = {
  apiVersion: 'APIVersion defines the version of the API that the object is written for.',
  kind: 'Kind is what the object is, in CamelCase.',
  metadata: "Standard object's metadata: its name, labels, annotations and who owns it.",
};

const METADATA: Readonly<Record<string, string>> = {
  annotations: 'Annotations are texts by key, for programs; nothing is selected by them.',
  creationTimestamp: 'CreationTimestamp is a timestamp of the server: when the object was made.',
  deletionGracePeriodSeconds: 'Seconds that the object has to end, once it is deleted. Set by the server.',
  deletionTimestamp:
    'DeletionTimestamp is when the object is to be gone. Set by the server, when somebody deletes the object.',
  finalizers: 'Finalizers name who has something to do before the object goes; it goes when none is left.',
  generateName: 'GenerateName begins the name that the server makes, where the object comes without one.',
  generation: 'Generation counts the changes of what is wished for. Set by the server.',
  labels: 'Labels are short texts by key, by which objects are selected.',
  managedFields: 'ManagedFields say who wrote which fields last. Kept by the server.',
  name: 'Name is unique among the objects of a kind in a namespace, and stays.',
  namespace: 'Namespace is where the object is; objects of the cluster as a whole are in none.',
  ownerReferences: 'OwnerReferences name what the object belongs to: when all of them are gone, it goes.',
  resourceVersion: 'ResourceVersion is another after each change. A write that names an old one is refused.',
  selfLink: 'SelfLink is no longer used.',
  uid: 'UID is never given twice. Set by the server.',
};

export function explained(name: string, schema: Schema): Schema {
  const isKind = schema['x-kubernetes-group-version-kind'] !== undefined;
  const words = name === OBJECT_META ? METADATA : isKind ? OBJECT : undefined;
  if (words === undefined || schema.properties === undefined) return schema;
  const told = Object.entries(schema.properties).map(([field, inner]) => {
    const description = inner.description ?? words[field];
    return [field, description === undefined ? inner : { ...inner, description }];
  });
  const properties = Object.fromEntries(told) as Record<string, Schema>;
  // Of a field that is a reference kubectl shows the words of what it refers to.
  return { ...schema, ...(name === OBJECT_META ? { description: OBJECT['metadata'] ?? '' } : {}), properties };
}
