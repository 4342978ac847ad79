/** The pod of a build: a pure function of the build and of what the host says about networks and registries. */
import { availableParallelism } from 'node:os';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { placement, SEGMENT_KEY } from '../../resources/segments.ts';
import { type Build, labels } from '../../resources/types.ts';
import type { WantedBuildpacks } from '../lifecycle/protocol.ts';

export const BUILD_CONTAINER = 'build';

/** Where the host's CA bundle is mounted (`node.sampan.dev/host-ca`). */
const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
/** Time to take the layers out, behind the build's own limit; a platform that died leaves no pod for longer. */
const EXPORT_SECONDS = 900;
export const BUILD_PIDS = 1024;

/** The hard limit of a build, in thousandths of a core. */
export function buildCpuMillis(): number {
  return Math.max(500, availableParallelism() * 500);
}

export interface BuildPodOptions {
  build: Stored<Build>;
  image: string;
  /** Instead of the image's own. */
  command?: string[];
  env: Record<string, string>;
  /** Has to be there, whatever segment it is of. */
  node?: string;
}

export function buildPodName(build: Stored<Build>): string {
  return `build-${build.metadata.name}`;
}

export function buildPod(options: BuildPodOptions): Pod {
  const { build } = options;
  const cpu = `${buildCpuMillis()}m`;
  const memory = `${build.spec.memoryMb}Mi`;
  const disk = `${build.spec.diskMb}Mi`;
  return {
    metadata: {
      name: buildPodName(build),
      namespace: build.metadata.namespace ?? '',
      labels: { [labels.build]: build.metadata.name },
      annotations: {
        'node.sampan.dev/egress': 'internet',
        'node.sampan.dev/pids': String(BUILD_PIDS),
        'node.sampan.dev/host-ca': 'true',
      },
      ownerReferences: [
        {
          apiVersion: 'platform.sampan.dev/v1',
          kind: 'Build',
          name: build.metadata.name,
          uid: build.metadata.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      ...placeOf(options),
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      activeDeadlineSeconds: build.spec.timeoutSeconds + EXPORT_SECONDS,
      terminationGracePeriodSeconds: 0,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: BUILD_CONTAINER,
          image: options.image,
          imagePullPolicy: 'IfNotPresent',
          ...(options.command === undefined ? {} : { command: options.command }),
          // Kubernetes would replace $(NAME).
          env: Object.entries(options.env).map(([name, value]) => ({ name, value: value.replaceAll('$(', '$$$$(') })),
          resources: {
            // Shares of the processor follow it: beside the smallest app, which has 10m, a build gets a sixth of one.
            requests: { cpu: '2m', memory: '64Mi', 'ephemeral-storage': '64Mi' },
            limits: { cpu, memory, 'ephemeral-storage': disk },
          },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          volumeMounts: [{ name: 'environment', mountPath: '/platform/env', readOnly: true }],
        },
      ],
      // The variables of all builds, then the app's own, as Cloud Foundry gives them to buildpacks; nothing of the platform's.
      volumes: [
        {
          name: 'environment',
          projected: {
            sources: [`env-staging-${build.metadata.name}`, `env-${build.spec.app}`].map((name) => ({
              secret: { name, optional: true },
            })),
          },
        },
      ],
    },
  };
}

function placeOf({ build, node }: BuildPodOptions): Pick<PodSpec, 'nodeSelector' | 'tolerations'> {
  if (node === undefined) return placement(build.spec.segment);
  return {
    nodeSelector: { 'kubernetes.io/hostname': node },
    tolerations: [{ key: SEGMENT_KEY, operator: 'Exists', effect: 'NoSchedule' }],
  };
}

/**
 * For the lifecycle.
 * @param environment  from `hostEnvironment`
 */
export function buildpackVariables(
  wanted: WantedBuildpacks,
  environment: Record<string, string>,
): Record<string, string> {
  return { ...lifecycleVariables(environment), SAMPAN_BUILDPACKS: JSON.stringify(wanted) };
}

/** For the lifecycle in a builder image, whose own order says what is tried. */
export function builderVariables(environment: Record<string, string>): Record<string, string> {
  return { ...lifecycleVariables(environment), SAMPAN_BUILDER: '1' };
}

function lifecycleVariables(environment: Record<string, string>): Record<string, string> {
  return {
    ...environment,
    SAMPAN_STAY: '1',
    NODE_EXTRA_CA_CERTS: CA_BUNDLE,
    SSL_CERT_FILE: CA_BUNDLE,
    npm_config_cafile: CA_BUNDLE,
  };
}
