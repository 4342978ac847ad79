/** Programs of this machine in a pod, with the libraries that they may need, where the node's policy lets pods mount them. */
import { existsSync } from 'node:fs';
import type { Container, PodSpec } from '#cluster/kinds/types/core.ts';

/** @param tools  where each is in the pod, and where it is on this machine */
export function hostTools(tools: Record<string, string>): {
  volumes: NonNullable<PodSpec['volumes']>;
  volumeMounts: NonNullable<Container['volumeMounts']>;
} {
  const paths = Object.entries({ ...tools, '/lib': '/usr/lib', '/lib64': '/usr/lib64' })
    .filter(([, path]) => existsSync(path))
    .map(([mountPath, path], index) => ({ name: `tool-${index}`, mountPath, path }));
  return {
    volumes: paths.map(({ name, path }) => ({ name, hostPath: { path } })),
    volumeMounts: paths.map(({ name, mountPath }) => ({ name, mountPath, readOnly: true })),
  };
}
