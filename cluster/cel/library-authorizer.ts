/**
 * Whether somebody may do something (Kubernetes "CEL authorizer library"). Who decides is given with the variable: see `CelAuthorizer`.
 * Nothing of it fails for want of rights: an expression asks `allowed()`.
 */
import type { Environment } from '@marcbachmann/cel-js';

export interface AskedResource {
  group: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
}

export interface CelDecision {
  allowed: boolean;
  /** Empty where there is nothing to say. */
  reason: string;
}

/** The rights of one user. */
export interface CelRights {
  ofPath(path: string, verb: string): CelDecision;
  ofResource(resource: AskedResource, verb: string): CelDecision;
  /** Throws where these are no names. */
  ofServiceAccount(namespace: string, name: string): CelRights;
}

/** A variable's type is by this name, its value of the class. */
export const AUTHORIZER = 'kubernetes.authorization.Authorizer';

export class CelAuthorizer {
  readonly rights: CelRights;
  /** Of what the request is about; others than the user who makes it have none. */
  readonly requestResource: ResourceCheck | undefined;
  constructor(rights: CelRights, requested?: AskedResource) {
    this.rights = rights;
    this.requestResource = requested && new ResourceCheck(rights, requested);
  }
}

class PathCheck {
  readonly rights: CelRights;
  readonly path: string;
  constructor(rights: CelRights, path: string) {
    if (path === '') throw new Error('path must not be empty');
    this.rights = rights;
    this.path = path;
  }
}

class GroupCheck {
  readonly rights: CelRights;
  readonly group: string;
  constructor(rights: CelRights, group: string) {
    this.rights = rights;
    this.group = group;
  }
}

class ResourceCheck {
  readonly rights: CelRights;
  readonly asked: AskedResource;
  constructor(rights: CelRights, asked: AskedResource) {
    if (asked.resource === '') throw new Error('resource must not be empty');
    this.rights = rights;
    this.asked = asked;
  }
  with(more: Partial<AskedResource>): ResourceCheck {
    return new ResourceCheck(this.rights, { ...this.asked, ...more });
  }
}

class Decision {
  readonly decision: CelDecision;
  constructor(decision: CelDecision) {
    this.decision = decision;
  }
}

const PATH = 'kubernetes.authorization.PathCheck';
const GROUP = 'kubernetes.authorization.GroupCheck';
const RESOURCE = 'kubernetes.authorization.ResourceCheck';
const DECISION = 'kubernetes.authorization.Decision';

export function addAuthorizerFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  const types = { [PATH]: PathCheck, [GROUP]: GroupCheck, [RESOURCE]: ResourceCheck, [DECISION]: Decision };
  for (const [name, ctor] of Object.entries(types)) environment.registerType(name, { ctor, fields: {} });
  environment.registerType(AUTHORIZER, { ctor: CelAuthorizer, fields: { requestResource: RESOURCE } });
  add(`${AUTHORIZER}.path(string): ${PATH}`, ({ rights }: CelAuthorizer, path: string) => new PathCheck(rights, path));
  add(
    `${AUTHORIZER}.group(string): ${GROUP}`,
    ({ rights }: CelAuthorizer, group: string) => new GroupCheck(rights, group),
  );
  add(
    `${AUTHORIZER}.serviceAccount(string, string): ${AUTHORIZER}`,
    ({ rights }: CelAuthorizer, namespace: string, name: string) =>
      new CelAuthorizer(rights.ofServiceAccount(namespace, name)),
  );
  add(`${GROUP}.resource(string): ${RESOURCE}`, ({ rights, group }: GroupCheck, resource: string) => {
    return new ResourceCheck(rights, { group, resource, subresource: '', namespace: '', name: '' });
  });
  for (const field of ['subresource', 'namespace', 'name'])
    add(`${RESOURCE}.${field}(string): ${RESOURCE}`, (check: ResourceCheck, value: string) =>
      check.with({ [field]: value }),
    );
  add(
    `${PATH}.check(string): ${DECISION}`,
    ({ rights, path }: PathCheck, verb: string) => new Decision(rights.ofPath(path, verb)),
  );
  add(
    `${RESOURCE}.check(string): ${DECISION}`,
    ({ rights, asked }: ResourceCheck, verb: string) => new Decision(rights.ofResource(asked, verb)),
  );
  add(`${DECISION}.allowed(): bool`, ({ decision }: Decision) => decision.allowed);
  add(`${DECISION}.reason(): string`, ({ decision }: Decision) => decision.reason);
  // Roles are always known here: nobody fails to decide.
  add(`${DECISION}.errored(): bool`, () => false);
  add(`${DECISION}.error(): string`, () => '');
}
