/**
 * Who may do what, as data. The rights of a node beyond these reads are in `node-rights.ts`: they depend on which node.
 * Everything that no rule allows is refused.
 */
export interface Rule {
  verbs: readonly string[];
  /** API groups; `*` is every one. */
  groups: readonly string[];
  /** `resource` or `resource/subresource`; `*` is every one. */
  resources: readonly string[];
  /** Refused although the rest would allow it. */
  except?: (request: { verb: string; resource: string; namespace: string }) => boolean;
}

export interface GroupRights {
  rules: readonly Rule[];
  /** Paths that are no resource's; a trailing `*` is any rest. */
  paths: readonly string[];
}

const READ = ['get', 'list', 'watch'];

export const RIGHTS: Readonly<Record<string, GroupRights>> = {
  'system:masters': { rules: [{ verbs: ['*'], groups: ['*'], resources: ['*'] }], paths: ['/*'] },
  'system:authenticated': {
    rules: [
      { verbs: ['create'], groups: ['authorization.k8s.io'], resources: ['selfsubjectaccessreviews'] },
      { verbs: ['create'], groups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] },
    ],
    paths: [
      '/api',
      '/api/*',
      '/apis',
      '/apis/*',
      '/openapi',
      '/openapi/*',
      '/version',
      '/healthz',
      '/livez',
      '/readyz',
    ],
  },
  'system:unauthenticated': { rules: [], paths: ['/version', '/healthz', '/livez', '/readyz'] },
  /** What is true about nodes only the nodes themselves and the cluster's own controllers say. */
  'system:sampan:platform': {
    rules: [
      {
        verbs: ['*'],
        groups: ['*'],
        resources: ['*'],
        except: ({ verb, resource, namespace }) =>
          !READ.includes(verb) &&
          (resource === 'nodes' ||
            resource === 'nodes/status' ||
            (resource === 'leases' && namespace === 'kube-node-lease')),
      },
    ],
    paths: ['/metrics'],
  },
  /** For service routing and name resolution on the node. */
  'system:nodes': {
    rules: [
      { verbs: READ, groups: [''], resources: ['services', 'namespaces', 'nodes'] },
      { verbs: READ, groups: ['discovery.k8s.io'], resources: ['endpointslices'] },
      { verbs: ['create', 'patch', 'update'], groups: ['', 'events.k8s.io'], resources: ['events'] },
      { verbs: ['create'], groups: ['authentication.k8s.io'], resources: ['tokenreviews'] },
    ],
    paths: [],
  },
};
