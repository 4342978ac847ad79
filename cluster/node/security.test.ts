import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podObject } from '#testing/agent-pod.ts';
import type { PodSpec } from '../kinds/types/core.ts';
import { rejectionOf, strictPolicy } from './security.ts';

const rejected = (spec: Partial<PodSpec>, annotations?: Record<string, string>) =>
  rejectionOf(podObject('p', spec, annotations), strictPolicy);

test('AppArmor profiles of the host are refused, since nobody would enforce them', () => {
  const wanted = {
    reason: 'AppArmor',
    message: 'Pod was rejected: Cannot enforce AppArmor: this node loads no profiles of its own, and "strict" is one',
  };
  const appArmorProfile = { type: 'Localhost', localhostProfile: 'strict' };
  assert.deepEqual(rejected({ securityContext: { appArmorProfile } }), wanted);
  assert.deepEqual(rejected({ containers: [{ name: 'c', image: 'i', securityContext: { appArmorProfile } }] }), wanted);
  assert.deepEqual(rejected({}, { 'container.apparmor.security.beta.kubernetes.io/c': 'localhost/strict' }), wanted);
  for (const type of ['RuntimeDefault', 'Unconfined'])
    assert.equal(rejected({ securityContext: { appArmorProfile: { type } } }), undefined);
  assert.equal(rejected({}, { 'container.apparmor.security.beta.kubernetes.io/c': 'runtime/default' }), undefined);
});

test('what a node cannot give is refused by name', () => {
  const container = { name: 'c', image: 'i' };
  assert.match(rejected({ os: { name: 'windows' } })?.message ?? '', /spec.os.name "windows" does not run here/);
  const ports = [{ containerPort: 1, hostPort: 1, protocol: 'SCTP' }];
  assert.match(rejected({ containers: [{ ...container, ports }] })?.message ?? '', /hostPort 1 is not supported/);
});
