import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App, Droplet, Process, Revision, Space } from '../resources/types.ts';
import { type InstanceInput, replicaSetFor, replicaSetName } from './pod-template.ts';

function stored<T extends { metadata: App['metadata'] }>(name: string, spec: unknown): Stored<T> {
  return {
    metadata: {
      name,
      namespace: 'o-s',
      uid: `uid-${name}`,
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec,
  } as unknown as Stored<T>;
}

function input(changes: { name?: string; command?: string; process?: object; droplet?: object } = {}): InstanceInput {
  return {
    app: stored<App>('app-guid', { displayName: changes.name ?? 'hello', state: 'STARTED', generation: 3 }),
    process: stored<Process>('process-guid', {
      app: 'app-guid',
      type: 'web',
      instances: 2,
      memoryMb: 256,
      diskMb: 1024,
      healthCheck: { type: 'port' },
      readinessCheck: { type: 'process' },
      logRateLimitBytes: -1,
      ...changes.process,
    }),
    droplet: stored<Droplet>('droplet-guid', {
      app: 'app-guid',
      image: 'registry/cf/app@sha256:1',
      processTypes: { web: 'node server.js' },
      lifecycle: 'buildpack',
      buildpacks: [],
      ports: [8080],
      ...changes.droplet,
    }),
    revision: stored<Revision>('revision-guid', { commands: { web: changes.command ?? 'node server.js' } }),
    generation: 3,
    space: stored<Space>('space-guid', { displayName: 'dev', organization: 'org-guid', namespace: 'o-s' }),
    organization: undefined,
    uris: ['hello.test'],
    apiUrl: 'https://api.test',
    services: {},
    segment: undefined,
    healthTimeout: 60,
  };
}

function podOf(changes?: Parameters<typeof input>[0]) {
  const pod = replicaSetFor(input(changes), 2).spec?.template?.spec;
  const [container] = pod?.containers ?? [];
  assert.ok(pod && container);
  return { pod, container };
}

test('pod: restricted, without a token, gated, and drained before it is stopped', () => {
  const { pod, container } = podOf();
  assert.deepEqual(pod.securityContext, {
    runAsNonRoot: true,
    runAsUser: 1000,
    runAsGroup: 1000,
    seccompProfile: { type: 'RuntimeDefault' },
  });
  assert.deepEqual(container.securityContext, { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
  assert.equal(pod.automountServiceAccountToken, false);
  assert.equal(pod.enableServiceLinks, false);
  assert.deepEqual(pod.schedulingGates, [{ name: 'platform.sampan.dev/instance-index' }]);
  assert.equal(pod.terminationGracePeriodSeconds, 11);
  assert.deepEqual(container.lifecycle, { preStop: { sleep: { seconds: 1 } } });
  assert.deepEqual(container.resources?.limits, { memory: '256Mi', 'ephemeral-storage': '1024Mi' });
  assert.equal(container.startupProbe?.failureThreshold, 60);
  assert.equal(container.readinessProbe, undefined);
});

test('pod: commands and values mean what they say', () => {
  assert.deepEqual(podOf().container.args, ['web'], 'what the droplet knows is named');
  assert.deepEqual(podOf({ command: 'echo $(date)' }).container.args, ['echo $$(date)']);
  const { container } = podOf({ name: 'a $(PORT) b' });
  const vcap = container.env?.find((variable) => variable.name === 'VCAP_APPLICATION')?.value ?? '';
  assert.match(vcap, /a \$\$\(PORT\) b/);
  const docker = { lifecycle: 'docker', processTypes: {}, ports: [9000], user: 'nginx' };
  const image = podOf({ droplet: docker, command: 'serve' });
  assert.deepEqual(image.container.command, ['/bin/sh', '-c', 'serve']);
  assert.equal(image.pod.securityContext?.runAsUser, undefined, "the image's own user, which must not be root");
  assert.equal(image.container.env?.find((variable) => variable.name === 'PORT')?.value, '9000');
  assert.equal(podOf({ droplet: { ...docker, user: 'root' } }).pod.securityContext?.runAsUser, 1000);
  const lookup = (user: string) =>
    replicaSetFor(input({ droplet: { ...docker, user } }), 2).spec?.template?.metadata?.annotations?.[
      'node.sampan.dev/named-users'
    ];
  assert.deepEqual([lookup('www-data'), lookup('33:33'), lookup('root')], ['true', undefined, undefined]);
});

test('pod: health checks become probes', () => {
  const http = podOf({ process: { healthCheck: { type: 'http', endpoint: '/up', timeout: 5, invocationTimeout: 3 } } });
  assert.deepEqual(http.container.startupProbe, {
    httpGet: { path: '/up', port: 8080, scheme: 'HTTP' },
    timeoutSeconds: 3,
    periodSeconds: 1,
    failureThreshold: 5,
  });
  const worker = podOf({ process: { type: 'worker', healthCheck: { type: 'process' } } });
  assert.equal(worker.container.startupProbe, undefined);
  assert.equal(worker.container.ports, undefined);
  assert.ok(!worker.container.env?.some((variable) => variable.name === 'PORT'));
});

test('names: any app name gives a valid one, apart by process and generation', () => {
  for (const name of ['hello', 'Ünï cödé', '123', '---', '…', 'x'.repeat(255)]) {
    const { app, process } = input({ name });
    const one = replicaSetName(app, process, 1);
    assert.match(one, /^[a-z][a-z0-9-]*[a-z0-9]$/);
    assert.ok(one.length <= 55, 'room for the suffix of a pod');
    assert.notEqual(one, replicaSetName(app, process, 2));
  }
});
