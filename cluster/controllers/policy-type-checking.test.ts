import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { customResourceDefinitions, validatingAdmissionPolicies } from '../kinds/resources.ts';
import type { ValidatingAdmissionPolicySpec } from '../kinds/types/admissionregistration.ts';
import { createPolicyTypeChecking } from './policy-type-checking.ts';

const rule = (apiGroups: string[], resources: string[]) => ({
  apiGroups,
  apiVersions: ['v1'],
  resources,
  operations: ['CREATE'],
});

/** In cel-go's words. */
function undefinedField(expression: string, field: string): string {
  const lines = expression.split('\n');
  const line = lines.findIndex((one) => one.includes(`.${field}`));
  const column = lines[line]?.indexOf(`.${field}`) ?? 0;
  return `ERROR: <input>:${line + 1}:${column + 1}: undefined field '${field}'\n | ${lines[line]}\n | ${'.'.repeat(column)}^`;
}

describe('type checking of policies', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await plane.start(createPolicyTypeChecking());
  });
  after(() => plane.close());

  /** What is said of the policy as it is now. */
  const checked = async (name: string, generation: number) => {
    const [policy] = await until(plane.client, validatingAdmissionPolicies, undefined, (all) =>
      all.some((one) => one.metadata.name === name && one.status?.observedGeneration === generation),
    ).then((all) => all.filter(({ metadata }) => metadata.name === name));
    return policy?.status?.typeChecking?.expressionWarnings;
  };
  const create = async (name: string, spec: ValidatingAdmissionPolicySpec) => {
    const status = { observedGeneration: 1, typeChecking: { expressionWarnings: [{ fieldRef: 'x', warning: 'y' }] } };
    await plane.client.create(validatingAdmissionPolicies, { metadata: { name }, spec, status });
    return await checked(name, 1);
  };

  it('names fields that an object of each kind does not have, and no others', async () => {
    const [first, second, message] = [
      'object.metadata.labels.tier != "" && variables.count > oldObject.spec.replicaCount',
      'object.spec.template.spec.containers.all(c,\n  has(c.image) && !c.volumeMount.exists(m, m.name == "x"))',
      '"of " + object.spec.serviceName',
    ] as const;
    const spec: ValidatingAdmissionPolicySpec = {
      matchConstraints: { resourceRules: [rule(['apps'], ['deployments', 'statefulsets', 'deployments/scale'])] },
      variables: [{ name: 'count', expression: 'object.spec.replicas' }],
      validations: [{ expression: first }, { expression: second, messageExpression: message }],
    };
    const both = ['apps/v1, Kind=Deployment', 'apps/v1, Kind=StatefulSet'];
    const warnings = (kinds: string[], expression: string, field: string) =>
      kinds.map((kind) => `${kind}: ${undefinedField(expression, field)}`).join('\n');
    assert.deepEqual(await create('fields', spec), [
      { fieldRef: 'spec.validations[0].expression', warning: warnings(both, first, 'replicaCount') },
      { fieldRef: 'spec.validations[1].expression', warning: warnings(both, second, 'volumeMount') },
      // A StatefulSet has it.
      {
        fieldRef: 'spec.validations[1].messageExpression',
        warning: warnings(['apps/v1, Kind=Deployment'], message, 'serviceName'),
      },
    ]);
    const body = { spec: { ...spec, validations: [{ expression: 'object.spec.replicas > 0' }] } };
    await plane.client.patch(validatingAdmissionPolicies, 'fields', { type: 'merge', body });
    assert.equal(await checked('fields', 2), undefined);
  });

  it('knows the schemas of custom resources, and says nothing of what a rule does not name', async () => {
    const properties = { spec: { type: 'object', properties: { size: { type: 'integer' } } } };
    await plane.client.create(customResourceDefinitions, {
      metadata: { name: 'tools.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Cluster',
        names: { plural: 'tools', kind: 'Tool' },
        versions: [
          { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', properties } } },
        ],
      },
    });
    const validations = [{ expression: 'object.spec.weight > 1' }];
    const ofTools = { matchConstraints: { resourceRules: [rule(['example.com'], ['tools'])] }, validations };
    const [warning] = (await create('custom', ofTools)) ?? [];
    assert.match(warning?.warning ?? '', /^example.com\/v1, Kind=Tool: ERROR: <input>:1:\d+: undefined field 'weight'/);
    const ofAll = { matchConstraints: { resourceRules: [rule(['*'], ['*'])] }, validations };
    assert.equal(await create('all', ofAll), undefined);
  });
});
