/**
 * UAA's contract: who somebody is.
 *
 * Users are `User` objects; the hash of a password (argon2id, PHC string) is in the Secret `user-<guid>` of the system
 * namespace, next to the revocation epoch of that user's refresh tokens. The signing key is the Secret `uaa-keys`; it is made
 * at first use and kept, so tokens outlive a restart. Access tokens are JWTs (RS256, 10 minutes) with the claims of Cloud
 * Foundry's UAA; refresh tokens are JWTs too (30 days): every use gives a new one, and all of a user's are void as soon as
 * the password changes or the user is deactivated, by an epoch that they carry.
 */

/** What a valid access token says. */
export interface Identity {
  userId: string;
  userName: string;
  clientId: string;
  origin: string;
  scopes: string[];
  /** Has `cloud_controller.admin`. */
  admin: boolean;
  /** What they may read of everybody's: nothing, all but secrets (`cloud_controller.global_auditor`), or all. */
  reads: 'own' | 'plain' | 'all';
}

/** The client that one-time codes of `cf ssh` are for. */
export const SSH_CLIENT_ID = 'ssh-proxy';

export interface TokenVerifier {
  /** Of the value of an Authorization header or a bare token. Rejects with `UaaError` `invalid_token`. */
  verify(authorization: string): Promise<Identity>;
}

/** OAuth 2.0's error codes (RFC 6749 section 5.2) and UAA's `unauthorized`. */
export type UaaErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'invalid_scope'
  | 'unauthorized'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_token'
  | 'insufficient_scope'
  | 'not_found'
  | 'invalid_scim_resource'
  | 'scim_resource_not_found'
  | 'scim_resource_already_exists'
  | 'invalid_client_metadata'
  | 'invalid_password'
  | 'access_denied';

const STATUS: Record<UaaErrorCode, number> = {
  invalid_request: 400,
  invalid_client: 401,
  invalid_grant: 400,
  invalid_scope: 400,
  unauthorized: 401,
  unauthorized_client: 401,
  unsupported_grant_type: 400,
  invalid_token: 401,
  insufficient_scope: 403,
  not_found: 404,
  invalid_scim_resource: 400,
  scim_resource_not_found: 404,
  scim_resource_already_exists: 409,
  invalid_client_metadata: 400,
  invalid_password: 422,
  access_denied: 403,
};

export class UaaError extends Error {
  readonly code: UaaErrorCode;
  constructor(code: UaaErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UaaError';
    this.code = code;
  }
  get status(): number {
    return STATUS[this.code];
  }
  toJson(): Record<string, string> {
    const json = { error: this.code, error_description: this.message };
    return this.code.includes('scim') ? { ...json, message: this.message } : json;
  }
}

/** Opens what a user may do with a service instance, for its dashboard, and nothing else. */
export const SERVICE_PERMISSIONS_SCOPE = 'cloud_controller_service_permissions.read';

/** What every user of Cloud Foundry may do, and what its admin may do besides. */
export const USER_SCOPES = [
  'openid',
  'cloud_controller.read',
  'cloud_controller.write',
  SERVICE_PERMISSIONS_SCOPE,
  'password.write',
  'uaa.user',
];
export const ADMIN_SCOPES = [
  ...USER_SCOPES,
  'cloud_controller.admin',
  'doppler.firehose',
  'network.admin',
  'routing.router_groups.read',
  'scim.read',
  'scim.write',
  'clients.read',
  'clients.write',
  'clients.secret',
  'idps.read',
  'idps.write',
  'uaa.admin',
];

/** Groups that there are without anybody having made them. */
export const KNOWN_GROUPS = [
  ...new Set([...USER_SCOPES, ...ADMIN_SCOPES, 'cloud_controller.admin_read_only', 'cloud_controller.global_auditor']),
];
