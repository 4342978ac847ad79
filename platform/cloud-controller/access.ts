/**
 * What a caller may see and do. Admins everything; others by their roles, as Cloud Foundry has them: what somebody may not
 * see does not exist for them (404), what they may see and not change is refused (403). What is asked before a change throws
 * where the organization is suspended: roles let its members see everything, and change nothing.
 */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Role, Space } from '../resources/types.ts';
import type { Identity } from '../uaa/uaa.ts';
import { CloudFoundryError, notAuthorized, notFound } from './errors.ts';
import type { Collection, Records } from './records.ts';

const WRITES_SPACE = new Set(['space_developer']);
const OPERATES_SPACE = new Set(['space_developer', 'space_supporter']);
const DOWNLOADS = new Set(['space_developer', 'space_manager', 'space_auditor']);
const MANAGES_SPACE = new Set(['space_manager']);

export class Access {
  readonly #records: Records;
  #rolesOfUser: Map<string, Role['spec'][]> | undefined;

  constructor(records: Records) {
    this.#records = records;
    records.roles.informer.onChange(() => {
      this.#rolesOfUser = undefined;
    });
  }

  readsOrganization(identity: Identity, organization: string): boolean {
    return (
      identity.reads !== 'own' ||
      this.#roles(identity).some(
        (role) =>
          role.organization === organization ||
          (role.space !== undefined && this.#records.spaces.get(role.space)?.spec.organization === organization),
      )
    );
  }

  /** For what managers see. */
  isManagerOf(identity: Identity, organization: string): boolean {
    return this.#roles(identity).some(
      (role) => role.type === 'organization_manager' && role.organization === organization,
    );
  }

  managesOrganization(identity: Identity, organization: string): boolean {
    return identity.admin || this.#whileActive(organization, this.isManagerOf(identity, organization));
  }

  readsSpace(identity: Identity, space: Stored<Space>): boolean {
    return (
      identity.reads !== 'own' ||
      this.#roles(identity).some(
        (role) =>
          role.space === space.metadata.name ||
          (role.type === 'organization_manager' && role.organization === space.spec.organization),
      )
    );
  }

  /** Environment variables and commands, which may hold secrets. */
  readsSecrets(identity: Identity, space: Stored<Space>): boolean {
    return identity.reads === 'all' || this.#has(identity, space, WRITES_SPACE);
  }

  /** What an app is made of. Supporters and auditors of an organization only see that it is there. */
  downloadsDroplets(identity: Identity, space: Stored<Space>): boolean {
    return (
      identity.reads !== 'own' ||
      this.#has(identity, space, DOWNLOADS) ||
      this.isManagerOf(identity, space.spec.organization)
    );
  }

  /** What keeps its apps going: start, stop, scale, routes, and the like. */
  operatesSpace(identity: Identity, space: Stored<Space>): boolean {
    return identity.admin || this.#mayChange(identity, space, OPERATES_SPACE);
  }

  /** Every change in a space. */
  writesSpace(identity: Identity, space: Stored<Space>): boolean {
    return identity.admin || this.#mayChange(identity, space, WRITES_SPACE);
  }

  managesSpace(identity: Identity, space: Stored<Space>): boolean {
    return (
      identity.admin ||
      this.#mayChange(identity, space, MANAGES_SPACE) ||
      this.managesOrganization(identity, space.spec.organization)
    );
  }

  /** An object of a space that the caller may see, or 404 with its kind's name. */
  read<T extends ClientObject>(identity: Identity, collection: Collection<T>, guid: string, what: string): Stored<T> {
    const object = collection.get(guid);
    const space = object && this.#records.spaceOf(object);
    if (!object || !space || object.metadata.deletionTimestamp || !this.readsSpace(identity, space)) {
      throw notFound(what);
    }
    return object;
  }

  write<T extends ClientObject>(identity: Identity, collection: Collection<T>, guid: string, what: string): Stored<T> {
    return this.#require(this.read(identity, collection, guid, what), (space) => this.writesSpace(identity, space));
  }

  operate<T extends ClientObject>(
    identity: Identity,
    collection: Collection<T>,
    guid: string,
    what: string,
  ): Stored<T> {
    return this.#require(this.read(identity, collection, guid, what), (space) => this.operatesSpace(identity, space));
  }

  readSecrets<T extends ClientObject>(
    identity: Identity,
    collection: Collection<T>,
    guid: string,
    what: string,
  ): Stored<T> {
    return this.#require(this.read(identity, collection, guid, what), (space) => this.readsSecrets(identity, space));
  }

  #require<T extends ClientObject>(object: Stored<T>, allowed: (space: Stored<Space>) => boolean): Stored<T> {
    const space = this.#records.spaceOf(object);
    if (!space || !allowed(space)) throw notAuthorized();
    return object;
  }

  /** Those of a space that the caller may see. */
  visible<T extends ClientObject>(identity: Identity, objects: Stored<T>[]): Stored<T>[] {
    const readable = new Map<Stored<Space>, boolean>();
    const reads = (space: Stored<Space>): boolean => {
      let known = readable.get(space);
      if (known === undefined) readable.set(space, (known = this.readsSpace(identity, space)));
      return known;
    };
    return objects.filter((object) => {
      const space = this.#records.spaceOf(object);
      return space !== undefined && !object.metadata.deletionTimestamp && reads(space);
    });
  }

  #mayChange(identity: Identity, space: Stored<Space>, types: Set<string>): boolean {
    return this.#whileActive(space.spec.organization, this.#has(identity, space, types));
  }

  #whileActive(organization: string, allowed: boolean): boolean {
    if (allowed && this.#records.organizations.get(organization)?.spec.suspended) {
      throw new CloudFoundryError('OrgSuspended', 'The organization is suspended');
    }
    return allowed;
  }

  #has(identity: Identity, space: Stored<Space>, types: Set<string>): boolean {
    return this.#roles(identity).some((role) => role.space === space.metadata.name && types.has(role.type));
  }

  #roles(identity: Identity): Role['spec'][] {
    this.#rolesOfUser ??= Map.groupBy(
      this.#records.roles.all().map(({ spec }) => spec),
      ({ user }) => user,
    );
    return this.#rolesOfUser.get(identity.userId) ?? [];
  }
}
