import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalQuantity } from './canonical-quantity.ts';
import { decodeObject } from './decode.ts';
import { definitions } from './schema.ts';

test('a quantity has one form', () => {
  const forms: Record<string, string[]> = {
    '0': ['0', '0.0', '-0', '0Mi', '0m', '0e5'],
    '1': ['1', '1000m', '1.0', '+1', '01', '1000000000n'],
    '500m': ['500m', '0.5', '.5', '500000u'],
    '1500m': ['1.5', '1500m', '1.500'],
    '1k': ['1k', '1000', '1000000m'],
    '1023': ['1023'],
    '-250m': ['-250m', '-0.25'],
    '1Gi': ['1Gi', '1024Mi', '1048576Ki'],
    '1536Mi': ['1.5Gi', '1536Mi'],
    '128974848': ['128974848'],
    '129M': ['129M', '129000k', '129000000'],
    '129e6': ['129e6', '129E6', '0.129e9'],
    '10e3': ['1e4', '10e3'],
    '100e-3': ['1e-1'],
    // Less than one of them, or not whole: decimal.
    '512': ['0.5Ki'],
    '100m': ['0.00009765625Ki'],
    '1100': ['1100'],
    '1126400m': ['1.1Ki'],
    '1n': ['1n', '0.1n', '0.0000000001'],
    '9223372036854775807': ['8Ei', '100Ei'],
    '8E': ['8E', '8000P'],
  };
  for (const [form, texts] of Object.entries(forms))
    for (const text of texts) assert.equal(canonicalQuantity(text), form, text);
});

test('what is read of a client has its quantities so, and names the one that is none', () => {
  const schema = definitions()['io.k8s.api.core.v1.ResourceRequirements'] ?? {};
  const limits: Record<string, unknown> = { cpu: 0.5, memory: '1024Mi', 'example.com/thing': ' 2000m ' };
  const value = { limits };
  assert.deepEqual(decodeObject(value, schema), { unknown: [], wrongTypes: [] });
  assert.deepEqual(value.limits, { cpu: '500m', memory: '1Gi', 'example.com/thing': '2' });
  for (const wrong of ['', 'much', '1Q', '1.2.3', '1 Gi'])
    assert.match(
      decodeObject({ limits: { cpu: wrong } }, schema).wrongTypes.join(),
      /^limits\.cpu: quantities must match/,
    );
});
