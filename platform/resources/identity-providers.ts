/** Settings of identity providers: see `IdentityProvider` in `types.ts`. */

/** Of either kind. */
export interface AnyProvider {
  /** Of its users. */
  origin: string;
  displayName: string;
  active: boolean;
  linkText?: string;
  /** Who logs in first becomes a user; else an administrator has made them. */
  addUsers: boolean;
  groupMappings: { external: string; group: string }[];
}

/** By OpenID Connect. */
export interface OidcProvider extends AnyProvider {
  type?: 'oidc1.0';
  /** Its issuer, or the address of its discovery document. */
  server: string;
  clientId: string;
  scopes: string[];
  /** Claim that is the user's name here. */
  nameClaim: string;
  groupsClaim: string;
  /** It takes names and passwords that were said here (`cf login --origin`). */
  passwordGrant?: boolean;
}

/** By name and password, which a directory is asked about: search, then bind. */
export interface LdapProvider extends AnyProvider {
  type: 'ldap';
  /** `ldap://` or `ldaps://`. */
  url: string;
  startTls: boolean;
  /** Who signs its certificate, PEM, besides the well-known. */
  authorities?: string;
  /** Who searches. */
  bindDn: string;
  userBase: string;
  /** `{0}` is the name that was said. */
  userFilter: string;
  mailAttribute: string;
  givenNameAttribute: string;
  familyNameAttribute: string;
  /** How groups are groups here: by mappings of their names, by an attribute that is the name, or not at all. */
  groups: 'mapped' | 'as-scopes' | 'none';
  groupBase: string;
  /** `{0}` is the distinguished name of the user, or of a group that is in another; `{1}` the name that was said. */
  groupFilter: string;
  groupAttribute: string;
  /** Groups of groups of …; 1: the user's alone. */
  groupDepth: number;
}
