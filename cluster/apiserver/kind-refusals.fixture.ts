/** What single kinds refuse, in upstream's words. */

/** Kind, what is merged into its sample, what a creation of it answers. */
export const REFUSED: readonly [string, object, RegExp][] = [
  [
    'apps/v1/deployments',
    { spec: { selector: { matchLabels: { app: 'other' } } } },
    /spec\.template\.metadata\.labels: Invalid value: .*: `selector` does not match template `labels`/,
  ],
  [
    'apps/v1/statefulsets',
    { spec: { podManagementPolicy: 'Some' } },
    /spec\.podManagementPolicy: Invalid value: "Some": must be 'OrderedReady' or 'Parallel'/,
  ],
  [
    'apps/v1/daemonsets',
    { spec: { updateStrategy: { rollingUpdate: { maxUnavailable: 0 } } } },
    /maxUnavailable: Invalid value: 0: cannot be 0 when maxSurge is 0/,
  ],
  [
    'batch/v1/jobs',
    { spec: { template: { spec: { restartPolicy: 'Always' } } } },
    /spec\.template\.spec\.restartPolicy: Required value: valid values: "OnFailure", "Never"/,
  ],
  [
    'batch/v1/jobs',
    { spec: { completionMode: 'Indexed', completions: null, parallelism: 2 } },
    /spec\.completions: Required value: when completion mode is Indexed/,
  ],
  [
    'batch/v1/jobs',
    { spec: { backoffLimitPerIndex: 1 } },
    /spec\.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode/,
  ],
  [
    'batch/v1/cronjobs',
    { spec: { schedule: '* * *' } },
    /spec\.schedule: Invalid value: "\* \* \*": expected exactly 5 fields, found 3: \[\* \* \*\]/,
  ],
  [
    'storage.k8s.io/v1/csidrivers',
    { spec: { fsGroupPolicy: 'Some' } },
    /spec\.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", "ReadWriteOnceWithFSType"/,
  ],
  [
    'storage.k8s.io/v1/csidrivers',
    { spec: { tokenRequests: [{ audience: 'a', expirationSeconds: 60 }] } },
    /expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes/,
  ],
  ['storage.k8s.io/v1/csinodes', { spec: { drivers: [{ name: 'a', nodeID: '' }] } }, /nodeID: Required value/],
  ['storage.k8s.io/v1/csistoragecapacities', { capacity: '-1' }, /capacity: .*must be greater than or equal to 0/],
  [
    'storage.k8s.io/v1/volumeattachments',
    { spec: { source: { inlineVolumeSpec: {} } } },
    /spec\.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName/,
  ],
  ['batch/v1/cronjobs', { spec: { schedule: '61 * * * *' } }, /end of range \(61\) above maximum \(59\): 61/],
  [
    'batch/v1/cronjobs',
    { spec: { timeZone: 'Mars/Olympus' } },
    /spec\.timeZone: Invalid value: "Mars\/Olympus": unknown time zone Mars\/Olympus/,
  ],
  [
    'batch/v1/cronjobs',
    { metadata: { name: 'x'.repeat(53) } },
    /metadata\.name: Invalid value: .*: must be no more than 52 characters/,
  ],
  [
    '/v1/services',
    { spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86_401 } } } },
    /spec\.sessionAffinityConfig\.clientIP\.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400/,
  ],
  ['/v1/services', { spec: { internalTrafficPolicy: 'Near' } }, /supported values: "Cluster", "Local"/],
  [
    '/v1/services',
    { spec: { externalTrafficPolicy: 'Local' } },
    /spec\.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services/,
  ],
  [
    '/v1/services',
    { spec: { externalIPs: ['127.0.0.1'] } },
    /spec\.externalIPs\[0\]: .*may not be in the loopback range/,
  ],
  [
    'discovery.k8s.io/v1/endpointslices',
    { endpoints: [{ addresses: ['127.0.0.1'] }] },
    /endpoints\[0\]\.addresses\[0\]: Invalid value: "127\.0\.0\.1": may not be in the loopback range/,
  ],
  [
    'discovery.k8s.io/v1/endpointslices',
    { endpoints: [{ addresses: ['fd00::1'] }] },
    /endpoints\[0\]\.addresses\[0\]: Invalid value: "fd00::1": must be a valid IPv4 address/,
  ],
  [
    '/v1/endpoints',
    { subsets: [{ addresses: [{ ip: '169.254.169.254' }] }] },
    /subsets\[0\]\.addresses\[0\]\.ip: Invalid value: "169\.254\.169\.254": may not be in the link-local range/,
  ],
  [
    '/v1/services',
    { spec: { ports: [{ port: 80, nodePort: 30_000 }] } },
    /spec\.ports\[0\]\.nodePort: Forbidden: may not be used when `type` is 'ClusterIP'/,
  ],
  [
    '/v1/services',
    { spec: { type: 'LoadBalancer', loadBalancerSourceRanges: ['everybody'] } },
    /spec\.loadBalancerSourceRanges\[0\]: Invalid value: "everybody": must be a valid CIDR value/,
  ],
  [
    '/v1/services',
    { spec: { loadBalancerClass: 'example.com/x' } },
    /spec\.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'/,
  ],
  [
    '/v1/services',
    { spec: { type: 'NodePort', clusterIP: 'None' } },
    /spec\.clusterIPs\[0\]: Invalid value: "None": may not be set to 'None' for NodePort services/,
  ],
  [
    'policy/v1/poddisruptionbudgets',
    { spec: { maxUnavailable: 1 } },
    /spec: Invalid value: .*: minAvailable and maxUnavailable cannot be both set/,
  ],
  [
    'policy/v1/poddisruptionbudgets',
    { spec: { minAvailable: '101%' } },
    /spec\.minAvailable: Invalid value: "101%": must not be greater than 100%/,
  ],
  [
    'scheduling.k8s.io/v1/priorityclasses',
    { value: 2000000000 },
    /value: Forbidden: maximum allowed value of a user defined priority is 1000000000/,
  ],
  [
    'scheduling.k8s.io/v1/priorityclasses',
    { metadata: { name: 'system-mine' } },
    /priority class names with 'system-' prefix are reserved for system use only/,
  ],
  [
    '/v1/limitranges',
    { spec: { limits: [{ type: 'Container', min: { cpu: '2' }, max: { cpu: '1' } }] } },
    /spec\.limits\[0\]\.min\[cpu\]: Invalid value: "2": min value 2 is greater than max value 1/,
  ],
  [
    '/v1/resourcequotas',
    { spec: { hard: { pods: '-1' } } },
    /spec\.hard\[pods\]: Invalid value: "-1": must be greater than or equal to 0/,
  ],
  [
    '/v1/persistentvolumeclaims',
    { spec: { accessModes: null } },
    /spec\.accessModes: Required value: at least 1 access mode is required/,
  ],
  ['/v1/persistentvolumeclaims', { spec: { resources: null } }, /spec\.resources\[storage\]: Required value/],
  ['/v1/persistentvolumes', { spec: { hostPath: null } }, /spec: Required value: must specify a volume type/],
  [
    '/v1/endpoints',
    { subsets: [{ addresses: [{ ip: 'x' }] }] },
    /subsets\[0\]\.addresses\[0\]\.ip: Invalid value: "x": must be a valid IP address/,
  ],
  ['storage.k8s.io/v1/storageclasses', { provisioner: '' }, /provisioner: Required value/],
  [
    'networking.k8s.io/v1/networkpolicies',
    { spec: { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/33' } }] }] } },
    /spec\.ingress\[0\]\.from\[0\]\.ipBlock\.cidr: Invalid value: "10\.0\.0\.0\/33": must be a valid CIDR value/,
  ],
  [
    'networking.k8s.io/v1/networkpolicies',
    { spec: { egress: [{ ports: [{ port: 80, endPort: 70 }] }] } },
    /endPort: Invalid value: 70: must be greater than or equal to `port`/,
  ],
  [
    'networking.k8s.io/v1/ingresses',
    { spec: { defaultBackend: null } },
    /spec: Invalid value: .*: either `defaultBackend` or `rules` must be specified/,
  ],
  [
    'networking.k8s.io/v1/ingresses',
    {
      spec: {
        rules: [
          {
            http: {
              paths: [{ path: 'x', pathType: 'Prefix', backend: { service: { name: 'a', port: { number: 1 } } } }],
            },
          },
        ],
      },
    },
    /paths\[0\]\.path: Invalid value: "x": must be an absolute path/,
  ],
  [
    'autoscaling/v2/horizontalpodautoscalers',
    { spec: { minReplicas: 5 } },
    /spec\.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`/,
  ],
  [
    'autoscaling/v2/horizontalpodautoscalers',
    { spec: { metrics: [{ type: 'Pods' }] } },
    /spec\.metrics\[0\]\.pods: Required value: must populate information for the given metric source/,
  ],
  [
    'autoscaling/v2/horizontalpodautoscalers',
    { spec: { metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Value', value: '1' } } }] } },
    /metrics\[0\]\.resource\.target\.averageUtilization: Required value: must set either a target raw value or a/,
  ],
  [
    'autoscaling/v2/horizontalpodautoscalers',
    {
      spec: { metrics: [{ type: 'Pods', pods: { metric: { name: 'x' }, target: { type: 'A', averageValue: '-1' } } }] },
    },
    /target\.type: Invalid value: "A": must be either .*averageValue: Invalid value: "-1": must be positive.*must specify a positive/,
  ],
  [
    'autoscaling/v2/horizontalpodautoscalers',
    { spec: { behavior: { scaleUp: { policies: [{ type: 'Pods', value: 1, periodSeconds: 1801 }] } } } },
    /scaleUp\.policies\[0\]\.periodSeconds: Invalid value: 1801: must be less than or equal to 1800/,
  ],
  [
    'rbac.authorization.k8s.io/v1/roles',
    { rules: [{ verbs: ['get'] }] },
    /rules\[0\]\.apiGroups: Required value: resource rules must supply at least one api group/,
  ],
  [
    'rbac.authorization.k8s.io/v1/clusterrolebindings',
    { roleRef: { kind: 'Role' } },
    /roleRef\.kind: Unsupported value: "Role": supported values: "ClusterRole"/,
  ],
  [
    'rbac.authorization.k8s.io/v1/rolebindings',
    { subjects: [{ kind: 'Robot', name: 'x' }] },
    /subjects\[0\]\.kind: Unsupported value: "Robot"/,
  ],
  [
    'node.k8s.io/v1/runtimeclasses',
    { handler: 'Not_A_Name' },
    /handler: Invalid value: "Not_A_Name": a lowercase RFC 1123 label/,
  ],
  [
    'certificates.k8s.io/v1/certificatesigningrequests',
    { spec: { usages: ['all'] } },
    /spec\.usages\[0\]: Unsupported value: "all"/,
  ],
  [
    '/v1/pods',
    { spec: { ephemeralContainers: [{ name: 'x', image: 'a' }] } },
    /spec\.ephemeralContainers: Forbidden: cannot be set on create/,
  ],
  ['/v1/podtemplates', { template: { spec: { containers: null } } }, /template\.spec\.containers: Required value/],
  [
    '/v1/replicationcontrollers',
    { spec: { replicas: -1 } },
    /spec\.replicas: Invalid value: -1: must be greater than or equal to 0/,
  ],
  [
    '/v1/nodes',
    { spec: { taints: [{ key: 'Bad Key', value: '-', effect: 'Never' }] } },
    /metadata\.taints\[0\]\.key: .*metadata\.taints\[0\]\.value: .*metadata\.taints\[0\]\.effect: Unsupported value: "Never"/s,
  ],
  [
    '/v1/nodes',
    {
      spec: {
        taints: [
          { key: 'a', effect: 'NoSchedule' },
          { key: 'a', value: 'b', effect: 'NoSchedule' },
        ],
      },
    },
    /metadata\.taints\[1\]: Duplicate value/,
  ],
  [
    '/v1/persistentvolumes',
    { spec: { nodeAffinity: { required: { nodeSelectorTerms: [] } } } },
    /spec\.nodeAffinity\.required\.nodeSelectorTerms: Required value: must have at least one node selector term/,
  ],
  [
    '/v1/persistentvolumes',
    { spec: { capacity: { storage: '0' }, hostPath: { path: '/a/../b', type: 'Thing' } } },
    /spec\.capacity\[storage\]: .*must be greater than zero.*hostPath\.path: .*must not contain '\.\.'.*hostPath\.type: Unsupported/s,
  ],
  [
    '/v1/persistentvolumes',
    { spec: { hostPath: null, csi: { driver: 'a b', volumeHandle: 'h', nodePublishSecretRef: { name: 'x' } } } },
    /spec\.csi\.driver: Invalid value: "a b": .*nodePublishSecretRef\.namespace: Required value/s,
  ],
  [
    '/v1/resourcequotas',
    { spec: { hard: { services: '1' }, scopes: ['Terminating'] } },
    /spec\.scopes: Invalid value: .*: unsupported scope applied to resource/,
  ],
  [
    '/v1/resourcequotas',
    { spec: { scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In' }] } } },
    /spec\.scopeSelector\.matchExpressions\.values: Required value: must be at least one value/,
  ],
  ['/v1/resourcequotas', { spec: { hard: { pods: '1.5' } } }, /spec\.hard\[pods\]: .*must be an integer/],
  [
    'batch/v1/jobs',
    {
      spec: {
        podFailurePolicy: {
          rules: [{ action: 'FailJob', onExitCodes: { containerName: 'other', operator: 'In', values: [3, 1, 3] } }],
        },
      },
    },
    /containerName: Invalid value: "other": must be one of.*values\[2\]: Duplicate value: 3.*values: .*must be ordered/s,
  ],
  [
    'rbac.authorization.k8s.io/v1/rolebindings',
    { roleRef: { name: 'a/b' }, subjects: [{ kind: 'ServiceAccount', name: 'Not A Name', namespace: 'default' }] },
    /roleRef\.name: Invalid value: "a\/b": may not contain '\/'.*subjects\[0\]\.name: Invalid value: "Not A Name"/s,
  ],
  [
    'node.k8s.io/v1/runtimeclasses',
    { scheduling: { nodeSelector: { 'a/b/c': '' }, tolerations: [{ effect: 'NoSchedule' }] } },
    /scheduling\.nodeSelector: .*a qualified name must consist.*scheduling\.tolerations\[0\]\.operator: /s,
  ],
  [
    'storage.k8s.io/v1/storageclasses',
    { allowedTopologies: [{ matchLabelExpressions: [{ key: 'a', values: ['b', 'b'] }] }] },
    /allowedTopologies\[0\]\.matchLabelExpressions\[0\]\.values\[1\]: Duplicate value: "b"/,
  ],
  [
    'autoscaling/v2/horizontalpodautoscalers',
    { spec: { scaleTargetRef: { kind: 'a/b', name: '..' } } },
    /scaleTargetRef\.kind: .*may not contain '\/'.*scaleTargetRef\.name: .*may not be '\.\.'/s,
  ],
  [
    '/v1/limitranges',
    { spec: { limits: [{ type: 'Thing' }] } },
    /spec\.limits\[0\]\.type: Invalid value: "Thing": must be a standard limit type or fully qualified/,
  ],
  [
    '/v1/endpoints',
    { subsets: [{ addresses: [{ ip: '10.0.0.1', nodeName: 'A' }], ports: [{ port: 1 }, { port: 2, name: 'b' }] }] },
    /addresses\[0\]\.nodeName: Invalid value: "A".*ports\[0\]\.name: Required value/s,
  ],
  [
    'networking.k8s.io/v1/ingresses',
    { spec: { tls: [{ secretName: 'A B' }], defaultBackend: { service: { port: { number: null, name: '1' } } } } },
    /port\.name: .*must contain at least one letter.*spec\.tls\[0\]\.secretName: /s,
  ],
  [
    'apiextensions.k8s.io/v1/customresourcedefinitions',
    { spec: { names: { shortNames: ['Sm'], categories: ['a b'] } } },
    /spec\.names\.shortNames\[0\]: Invalid value: "Sm": .*spec\.names\.categories\[0\]: /s,
  ],
  [
    '/v1/secrets',
    { type: 'kubernetes.io/dockerconfigjson', stringData: { '.dockerconfigjson': 'secret words' } },
    /data\[\.dockerconfigjson\]: Invalid value: "<secret contents redacted>": (?!.*secret words)/,
  ],
  ['/v1/secrets', { type: 'kubernetes.io/basic-auth' }, /data\[username\]: Required value/],
  [
    '/v1/secrets',
    { type: 'kubernetes.io/service-account-token' },
    /metadata\.annotations\[kubernetes\.io\/service-account\.name\]: Required value/,
  ],
  [
    '/v1/pods',
    {
      spec: {
        volumes: [
          { name: 'v', csi: { driver: '-', nodePublishSecretRef: {} } },
          { name: 'n', nfs: { server: 's', path: 'p' } },
        ],
      },
    },
    /volumes\[0\]\.csi\.driver: .*nodePublishSecretRef\.name: Required value.*volumes\[1\]\.nfs\.path: .*must be an absolute path/s,
  ],
  [
    '/v1/pods',
    {
      spec: {
        volumes: [
          {
            name: 'v',
            projected: { sources: ['a', 'b'].map((name) => ({ secret: { name, items: [{ key: 'k', path: 'p' }] } })) },
          },
        ],
      },
    },
    /volumes\[0\]\.projected: Invalid value: "b": conflicting duplicate paths/,
  ],
  [
    '/v1/services',
    { spec: { loadBalancerClass: '-', type: 'LoadBalancer' } },
    /spec\.loadBalancerClass: Invalid value: "-"/,
  ],
  [
    '/v1/services',
    { spec: { ports: [{ port: 80, targetPort: 'No_Name', appProtocol: 'a/b/c' }] } },
    /ports\[0\]\.targetPort: Invalid value: "No_Name": .*ports\[0\]\.appProtocol: Invalid value: "a\/b\/c"/s,
  ],
  [
    '/v1/services',
    { spec: { type: 'ExternalName', externalName: 'a b', ipFamilyPolicy: 'SingleStack' } },
    /spec\.ipFamilyPolicy: Forbidden: may not be set for ExternalName services.*spec\.externalName: Invalid value: "a b"/s,
  ],
  [
    'apps/v1/deployments',
    { spec: { template: { metadata: { annotations: { 'a/b/c': '' } } } } },
    /spec\.template\.annotations: Invalid value: "a\/b\/c": a qualified name must consist/,
  ],
  [
    'apps/v1/deployments',
    { spec: { minReadySeconds: 600, revisionHistoryLimit: -1 } },
    /spec\.revisionHistoryLimit: .*spec\.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds/s,
  ],
  [
    'apps/v1/statefulsets',
    { spec: { volumeClaimTemplates: [{ spec: { accessModes: ['ReadWriteOnce'] } }] } },
    /spec\.template\.spec\.volumes\[0\]\.name: Required value/,
  ],
  [
    'discovery.k8s.io/v1/endpointslices',
    {
      endpoints: [{ addresses: ['10.0.0.1'], hostname: 'A', hints: { forZones: [{ name: 'z' }, { name: 'z' }] } }],
      ports: [{ name: 'B' }],
    },
    /endpoints\[0\]\.hostname: .*forZones\[1\]\.name: Duplicate value: "z".*ports\[0\]\.name: /s,
  ],
  [
    'flowcontrol.apiserver.k8s.io/v1/flowschemas',
    { spec: { priorityLevelConfiguration: null } },
    /spec\.priorityLevelConfiguration: Required value/,
  ],
  [
    'flowcontrol.apiserver.k8s.io/v1/flowschemas',
    {
      spec: {
        rules: [
          {
            subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: '*', namespace: 'A' } }],
            nonResourceRules: [{ verbs: ['watch'], nonResourceURLs: ['/x'] }],
          },
        ],
      },
    },
    /serviceAccount\.namespace: Invalid value: "A".*nonResourceRules\[0\]\.verbs: Unsupported value/s,
  ],
  [
    'admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
    {
      webhooks: [
        {
          name: 'a.example.com',
          clientConfig: { url: 'https://a.example.com/' },
          sideEffects: 'None',
          admissionReviewVersions: ['v1', 'v1'],
          rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: [''], operations: ['CREATE'] }],
        },
      ],
    },
    /admissionReviewVersions\[1\]: .*duplicate version.*rules\[0\]\.resources\[0\]: Required value/s,
  ],
  [
    'admissionregistration.k8s.io/v1/validatingadmissionpolicies',
    { spec: { paramKind: { apiVersion: 'a b/v1', kind: 'Config Map' } } },
    /spec\.paramKind\.apiVersion: Invalid value: "a b".*spec\.paramKind\.kind: .*may have mixed case/s,
  ],
  [
    'apiextensions.k8s.io/v1/customresourcedefinitions',
    {
      spec: {
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: 'object' } },
            additionalPrinterColumns: [{ name: 'a', type: 'string', format: 'odd', jsonPath: 'spec' }],
            subresources: {
              scale: { specReplicasPath: '.spec.r', statusReplicasPath: '.status.r', labelSelectorPath: 'selector' },
            },
          },
        ],
      },
    },
    /format: .*must be one of byte,.*jsonPath: .*starting with \..*labelSelectorPath: .*under either \.spec or \.status/s,
  ],
  [
    '/v1/pods',
    { spec: { affinity: { podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1 }] } } } },
    /preferredDuringSchedulingIgnoredDuringExecution\[0\]\.podAffinityTerm: Required value/,
  ],
];
