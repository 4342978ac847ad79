/**
 * What the API machinery knows about a kind: data and pure functions, one file for each kind, no I/O.
 *
 * A kind is added by writing its file and naming it in `builtin.ts`; a CustomResourceDefinition becomes the same
 * structure at run time (`custom.ts`), so the server has one mechanism for both.
 */
import type { FieldError } from './field-error.ts';
import type { NameRule } from './names.ts';
import type { WebhookConversion } from './types/apiextensions.ts';
import type { ObjectMeta } from './types/meta.ts';

/** Any API object, as parsed from JSON. */
export interface ApiObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** An object as the server returns it: these fields are always there. */
export type Stored<T extends { metadata: ObjectMeta }> = T & {
  metadata: ObjectMeta & { name: string; uid: string; resourceVersion: string; creationTimestamp: string };
};

/** Enough to address a kind over HTTP: `/api/v1/…` for the core group (empty), `/apis/<group>/<version>/…` for others. */
export interface ResourceRef {
  group: string;
  version: string;
  /** Plural, lower case: `pods`. */
  resource: string;
  kind: string;
  namespaced: boolean;
}

/** A resource ref that remembers the type of its objects. */
export interface TypedResource<T extends { metadata: ObjectMeta }> extends ResourceRef {
  /** Never there at run time. */
  readonly objectType?: T;
}

export interface PrinterColumn {
  name: string;
  type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  format?: string;
  description: string;
  /** 0 is shown always, greater ones with `-o wide`. */
  priority: number;
  value: (object: ApiObject, now: number) => string | number | boolean | null;
}

export interface KindDefinition extends ResourceRef {
  listKind: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  /** Name of its schema in `schema/*.json`; custom kinds bring their own. */
  schemaName?: string;
  schema?: Record<string, unknown>;
  /** `status`: a write to the main resource ignores changes of `.status`, a write to `/status` changes only that. */
  subresources: {
    status: boolean;
    scale?: ScalePaths;
    /** Also written by `/approval`, which may say what `/status` may not. */
    approval?: boolean;
  };
  /** A PUT of what is not there creates it. */
  createOnUpdate?: boolean;
  /** A PUT must name the resourceVersion that it was made from. */
  needsRevision?: boolean;
  /** Without a propagation policy, a delete leaves what it owns. */
  orphansByDefault?: boolean;
  /** A delete is answered with what was deleted, not with a Status. */
  returnsDeleted?: boolean;
  /** What may be done with it; all verbs where it is absent. */
  verbs?: readonly string[];
  /** Its objects are kept nowhere: they are made when somebody asks. */
  computed?: boolean;
  /** Shown as a warning to whoever asks for it. */
  deprecation?: string;
  /** Makes one version's objects of another's; without it they differ in nothing but the version's name. */
  conversion?: WebhookConversion;
  /** Some of its objects may be kept in an older version. */
  mixedVersions?: boolean;
  /** Objects of another kind's store under another form: `events.k8s.io` Events are core ones. */
  stored?: StoredForm;
  columns: PrinterColumn[];
  /** Paths that a field selector may name besides `metadata.name` and `metadata.namespace`, e.g. `spec.nodeName`. */
  selectableFields: Record<string, (object: ApiObject) => string>;
  /** Names are `dns-label` (63), `dns-subdomain` (253), or what a path segment allows. */
  nameRule: NameRule;
  /** Does `metadata.generation` count changes of everything outside metadata and status? */
  generation: boolean;
  /** Fills defaults in place: on create, on update, and on read of older objects. */
  defaults?: (object: ApiObject) => void;
  /** On create, before validation: clears what a client may not set. */
  prepareForCreate?: (object: ApiObject, user: Requestor) => void;
  prepareForUpdate?: (object: ApiObject, old: ApiObject) => void;
  /** As `prepareForUpdate`, of a write to `status` or `approval`. `time` is now, as the API writes it. */
  prepareStatus?: (object: ApiObject, old: ApiObject, time: string) => void;
  validate?: (object: ApiObject) => FieldError[];
  /** Of what only a new object must be. */
  validateCreate?: (object: ApiObject) => FieldError[];
  validateUpdate?: (object: ApiObject, old: ApiObject) => FieldError[];
  /** Of a write to `status` or `approval`, which is `part`. */
  validateStatus?: (object: ApiObject, old: ApiObject, part: string) => FieldError[];
  /** What is odd about an object that is valid, which whoever wrote it is told. `old` is what an update changes. */
  warnings?: (object: ApiObject, old?: ApiObject) => string[];
  /** Default when a delete names no grace period (seconds). Undefined, or a kind without one: removed at once, whatever the delete says. */
  gracePeriod?: (object: ApiObject) => number | undefined;
}

/** Who asks for a new object. */
export interface Requestor {
  name: string;
  groups: string[];
  uid?: string;
  extra?: Record<string, string[]>;
}

/** How a kind's objects are kept as objects of another kind, which has the same name and namespace. */
export interface StoredForm {
  as: ResourceRef;
  /** To the stored form, apiVersion left to the caller. Must keep what it does not know. */
  write: (object: ApiObject) => ApiObject;
  read: (stored: ApiObject) => ApiObject;
  /** The stored kind's selectable field for each of this kind's. */
  fields?: Readonly<Record<string, string>>;
}

export interface ScalePaths {
  specReplicas: string;
  statusReplicas: string;
  /** Gives the selector in its string form. */
  selector: (object: ApiObject) => string;
}
