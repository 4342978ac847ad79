/**
 * Rights that no Role can express, as data: of the group `system:nodes` (beyond these reads `node-rights.ts` decides: it
 * depends on which node), and of the platform, which has everything with exceptions. All others have what their Roles
 * give them (`rbac/`).
 */
export interface Rule {
  verbs: readonly string[];
  /** API groups; `*` is every one. */
  groups: readonly string[];
  /** `resource` or `resource/subresource`; `*` is every one. */
  resources: readonly string[];
  /** Refused although the rest would allow it. */
  except?: (request: { verb: string; resource: string; namespace: string; name: string }) => boolean;
}

export interface GroupRights {
  rules: readonly Rule[];
  /** Paths that are no resource's. */
  paths: readonly string[];
}

const READ = ['get', 'list', 'watch'];
const BEYOND = ['impersonate', 'escalate', 'bind', 'approve', 'sign'];

/** What the platform may give to its users and services: these roles the server makes itself (`ApiServerOptions.clusterRoles`). */
const PLATFORM_ROLES = 'sampan:';

/** Of this group everything is allowed, whatever the Roles say: nobody can lock the administrator out. */
export const PRIVILEGED_GROUP = 'system:masters';

export const RIGHTS: Readonly<Record<string, GroupRights>> = {
  /**
   * What is true about nodes only the nodes themselves and the cluster's own controllers say; and nobody gets around that by
   * becoming somebody else, or by giving away what it does not have.
   */
  'system:sampan:platform': {
    rules: [
      {
        verbs: ['*'],
        groups: ['*'],
        resources: ['*'],
        except: ({ verb, resource, namespace, name }) =>
          (BEYOND.includes(verb) && !(verb === 'bind' && name.startsWith(PLATFORM_ROLES))) ||
          (!READ.includes(verb) &&
            (resource === 'nodes' ||
              resource === 'nodes/status' ||
              (resource === 'leases' && namespace === 'kube-node-lease'))),
      },
    ],
    paths: ['/metrics'],
  },
  /** For service routing and name resolution on the node, and to check who calls its agent. */
  'system:nodes': {
    rules: [
      { verbs: READ, groups: [''], resources: ['services', 'namespaces', 'nodes'] },
      { verbs: ['get'], groups: [''], resources: ['endpoints'] },
      // Every pod's name and address: for names, and for the policies between them.
      { verbs: ['list', 'watch'], groups: [''], resources: ['pods'] },
      { verbs: READ, groups: ['discovery.k8s.io'], resources: ['endpointslices'] },
      { verbs: READ, groups: ['networking.k8s.io'], resources: ['networkpolicies'] },
      { verbs: READ, groups: ['node.k8s.io'], resources: ['runtimeclasses'] },
      { verbs: ['create', 'patch', 'update'], groups: ['', 'events.k8s.io'], resources: ['events'] },
      { verbs: ['create'], groups: ['authentication.k8s.io'], resources: ['tokenreviews'] },
      {
        verbs: ['create'],
        groups: ['authorization.k8s.io'],
        resources: ['subjectaccessreviews', 'localsubjectaccessreviews'],
      },
      { verbs: ['create', ...READ], groups: ['certificates.k8s.io'], resources: ['certificatesigningrequests'] },
    ],
    paths: [],
  },
};
