import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settledTemplate } from './settled-template.ts';

test('a template that was kept with what says nothing is the same as one without', () => {
  const container = { name: 'c', image: 'i', securityContext: { allowPrivilegeEscalation: false } };
  const plain = { metadata: { labels: { a: 'b' } }, spec: { containers: [container] } };
  const kept = {
    metadata: { labels: { a: 'b' }, annotations: {} },
    spec: {
      hostNetwork: false,
      nodeSelector: {},
      tolerations: [],
      containers: [{ ...container, stdin: false, env: [] }],
    },
  };
  assert.deepEqual(settledTemplate(kept), plain);
  assert.equal(kept.spec.hostNetwork, false, 'what informers hold is not changed');
  assert.deepEqual(settledTemplate(plain), plain, 'what is meant stays');
});
