/**
 * Tenants in Kubernetes: what Cloud Foundry's roles allow somebody who comes to the API server with a token of UAA.
 *
 * The API server takes UAA's access tokens (`userName`, `tokenFacts`). In the namespace of each space two RoleBindings follow the
 * roles that Cloud Foundry knows:
 *   sampan:space-developer   space developers: they read everything that the platform has made there, and the logs of pods
 *   sampan:space-member      managers, auditors and supporters of the space, managers of its organization: they read what holds
 *                            no command and no variable
 * The API server makes both ClusterRoles when it starts, and lets the platform bind these two and no others.
 * Nobody writes: the cloud controller alone holds the invariants of its objects. Secrets are read by nobody.
 */
import type { PolicyRule } from '#cluster/kinds/types/rbac.ts';

const READ = ['get', 'list', 'watch'];
const PLATFORM = 'platform.sampan.dev';

export const DEVELOPER = 'sampan:space-developer';
export const MEMBER = 'sampan:space-member';

/** What holds neither a command nor a variable. */
const PLAIN: PolicyRule[] = [
  { apiGroups: [PLATFORM], resources: ['apps', 'routes', 'appdeployments'], verbs: READ },
  { apiGroups: [''], resources: ['events', 'services', 'endpoints', 'resourcequotas'], verbs: READ },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: READ },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
];

export const CLUSTER_ROLES: { name: string; rules: PolicyRule[] }[] = [
  { name: MEMBER, rules: PLAIN },
  {
    name: DEVELOPER,
    rules: [
      ...PLAIN,
      { apiGroups: [PLATFORM], resources: ['*'], verbs: READ },
      { apiGroups: [''], resources: ['pods', 'pods/log', 'pods/status', 'configmaps'], verbs: READ },
      { apiGroups: ['apps'], resources: ['replicasets', 'deployments', 'statefulsets'], verbs: READ },
      { apiGroups: ['metrics.k8s.io'], resources: ['pods'], verbs: READ },
    ],
  },
];

/** Which role in a space or its organization gives which. */
export const GIVES: Record<string, string> = {
  space_developer: DEVELOPER,
  space_manager: MEMBER,
  space_auditor: MEMBER,
  space_supporter: MEMBER,
  organization_manager: MEMBER,
};

const PREFIX = 'cf:';

/** Names of users can be taken again; guids of them cannot. */
export function userName(guid: string): string {
  return `${PREFIX}${guid}`;
}

/** For the API server's authentication by OpenID Connect: access tokens of users alone have `user_id`. */
export const tokenFacts = { clientId: 'cf', usernameClaim: 'user_id', usernamePrefix: PREFIX } as const;
