import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FieldError } from './field-error.ts';
import type { Volume, VolumeMount } from './types/core.ts';
import { validateMounts, validateVolumes } from './volume-validate.ts';

const ofVolume = (volume: Omit<Volume, 'name'>): string[] => {
  const errors: FieldError[] = [];
  validateVolumes([{ name: 'v', ...volume }], 'spec.volumes', errors);
  return errors.map(({ field, message }) => `${field}: ${message}`);
};
const ofMount = (mount: Partial<VolumeMount>, privileged = false): string[] =>
  validateMounts(
    { volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }], securityContext: { privileged } },
    'mounts',
    new Set(['v']),
  ).map(({ field, message }) => `${field}: ${message}`);

test('volumes: what is wrong is named by its field', () => {
  const cases: [Omit<Volume, 'name'>, RegExp][] = [
    [{ hostPath: { path: '/a/../b' } }, /^spec\.volumes\[0\]\.hostPath\.path: .*must not contain '\.\.'/],
    [{ hostPath: { path: '/a', type: 'Pipe' } }, /^spec\.volumes\[0\]\.hostPath\.type: Unsupported value: "Pipe"/],
    [{ emptyDir: { medium: 'Tape' } }, /\.emptyDir\.medium: Unsupported value/],
    [{ emptyDir: { sizeLimit: 'much' } }, /\.emptyDir\.sizeLimit: /],
    [{ secret: {} }, /\.secret\.secretName: Required value/],
    [
      { configMap: { name: 'c', items: [{ key: 'k', path: '/abs' }] } },
      /\.items\[0\]\.path: .*must be a relative path/,
    ],
    [
      { configMap: { name: 'c', items: [{ key: 'k', path: '..x' }] } },
      /\.items\[0\]\.path: .*must not start with '\.\.'/,
    ],
    [{ configMap: { name: 'c', defaultMode: 0o1777 } }, /\.configMap\.defaultMode: .*between 0 and 0777/],
    [{ persistentVolumeClaim: { claimName: '' } }, /\.claimName: Required value/],
    [{ ephemeral: {} }, /\.ephemeral\.volumeClaimTemplate: Required value/],
    [
      { projected: { sources: [{ serviceAccountToken: { path: 't', expirationSeconds: 5 } }] } },
      /sources\[0\]\.serviceAccountToken\.expirationSeconds: .*10 minutes/,
    ],
    [{ downwardAPI: { items: [{ path: 'x' }] } }, /items\[0\]: Required value/],
    [{ emptyDir: {}, hostPath: { path: '/' } }, /\.hostPath: Forbidden: may not specify more than 1 volume type/],
  ];
  for (const [volume, expected] of cases) assert.match(ofVolume(volume).join('\n'), expected);
  assert.deepEqual(ofVolume({ emptyDir: { medium: 'Memory', sizeLimit: '1Gi' } }), []);
});

test('mounts: what is wrong is named by its field', () => {
  const cases: [Partial<VolumeMount>, RegExp][] = [
    [{ name: 'w' }, /^mounts\[0\]\.name: Not found: "w"$/],
    [{ subPath: '../x' }, /subPath: .*must not contain '\.\.'/],
    [{ subPath: 'a', subPathExpr: 'b' }, /mutually exclusive/],
    [{ mountPropagation: 'Bidirectional' }, /available only to privileged containers/],
    [{ recursiveReadOnly: 'Enabled' }, /recursiveReadOnly: Forbidden: may only be specified when readOnly is true/],
    [
      { recursiveReadOnly: 'Enabled', readOnly: true, mountPropagation: 'HostToContainer' },
      /only be specified when mountPropagation is None/,
    ],
  ];
  for (const [mount, expected] of cases) assert.match(ofMount(mount).join('\n'), expected);
  assert.deepEqual(ofMount({ readOnly: true, recursiveReadOnly: 'IfPossible', subPathExpr: '$(NAME)' }), []);
  assert.deepEqual(ofMount({ mountPropagation: 'Bidirectional' }, true), []);
});
