import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PolicyRule } from '../../kinds/types/rbac.ts';
import { describeRules, uncovered } from './coverage.ts';
import { allowsPath, allowsResource } from './policy-rule.ts';

const rule = (verbs: string[], apiGroups: string[], resources: string[], resourceNames?: string[]): PolicyRule => ({
  verbs,
  apiGroups,
  resources,
  ...(resourceNames === undefined ? {} : { resourceNames }),
});
const pods = rule(['get', 'list'], [''], ['pods']);

describe('a rule allows', () => {
  const table: [string, PolicyRule, string, boolean][] = [
    ['its verb', pods, 'get /pods', true],
    ['no other verb', pods, 'delete /pods', false],
    ['no other group', pods, 'get apps/pods', false],
    ['no other resource', pods, 'get /secrets', false],
    ['no subresource of its resource', pods, 'get /pods/log', false],
    ['a named subresource', rule(['get'], [''], ['pods/log']), 'get /pods/log', true],
    ['not the resource of its subresource', rule(['get'], [''], ['pods/log']), 'get /pods', false],
    ['every verb by *', rule(['*'], [''], ['pods']), 'deletecollection /pods', true],
    ['every group by *', rule(['get'], ['*'], ['pods']), 'get metrics.k8s.io/pods', true],
    ['every resource and subresource by *', rule(['get'], [''], ['*']), 'get /pods/exec', true],
    ['a subresource of everything', rule(['update'], ['*'], ['*/scale']), 'update apps/deployments/scale', true],
    ['not everything by a subresource of it', rule(['update'], ['*'], ['*/scale']), 'update apps/deployments', false],
    ['its names', rule(['get'], [''], ['pods'], ['a', 'b']), 'get /pods b', true],
    ['no other name', rule(['get'], [''], ['pods'], ['a']), 'get /pods b', false],
    ['no list, where it names objects', rule(['list'], [''], ['pods'], ['a']), 'list /pods', false],
    ['everything, where the names are empty', rule(['get'], [''], ['pods'], []), 'get /pods b', true],
    ['nothing without verbs', rule([], [''], ['pods']), 'get /pods', false],
    ['nothing of resources by paths', { verbs: ['*'], nonResourceURLs: ['*'] }, 'get /pods', false],
  ];
  for (const [name, one, asked, expected] of table)
    test(name, () => {
      const [verb = '', path = '', object = ''] = asked.split(' ');
      const [group = '', resource = '', subresource = ''] = path.split('/');
      assert.equal(allowsResource(one, { verb, group, resource, subresource, name: object }), expected);
    });
});

test('paths: exact, by prefix, all', () => {
  const at = (...nonResourceURLs: string[]): PolicyRule => ({ verbs: ['get'], nonResourceURLs });
  const allowed = (one: PolicyRule, path: string, verb = 'get') => allowsPath(one, verb, path);
  assert.ok(allowed(at('/healthz'), '/healthz'));
  assert.ok(!allowed(at('/healthz'), '/healthz/etcd'));
  assert.ok(allowed(at('/healthz/*'), '/healthz/etcd'));
  assert.ok(!allowed(at('/healthz/*'), '/healthz'));
  assert.ok(allowed(at('*'), '/anything'));
  assert.ok(!allowed(at('*'), '/anything', 'post'));
  assert.ok(!allowed(pods, '/api'));
});

test('what nobody has cannot be given: rules against rules', () => {
  const missing = (owned: PolicyRule[], wanted: PolicyRule[]) => describeRules(uncovered(owned, wanted));
  assert.equal(missing([pods], [pods]), '');
  assert.equal(missing([rule(['*'], ['*'], ['*'])], [pods, rule(['get'], ['apps'], ['deployments/scale'])]), '');
  assert.equal(
    missing([rule(['get'], [''], ['pods']), rule(['list'], [''], ['pods'])], [pods]),
    '',
    'from two rules together',
  );
  assert.equal(
    missing([pods], [rule(['get', 'watch', 'delete'], [''], ['pods'])]),
    '{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}',
  );
  assert.equal(
    missing([rule(['get'], [''], ['pods'], ['a'])], [rule(['get'], [''], ['pods'])]),
    '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}',
  );
  assert.equal(missing([rule(['get'], [''], ['pods'])], [rule(['get'], [''], ['pods'], ['a'])]), '');
  assert.equal(
    missing([rule(['update'], ['apps'], ['*/scale'])], [rule(['update'], ['apps'], ['deployments/scale'])]),
    '',
  );
  assert.equal(missing([pods], [rule(['*'], [''], ['pods'])]), '{APIGroups:[""], Resources:["pods"], Verbs:["*"]}');
  assert.equal(
    missing([], [{ verbs: ['get'], nonResourceURLs: ['/metrics'] }]),
    '{NonResourceURLs:["/metrics"], Verbs:["get"]}',
  );
  assert.equal(
    missing([{ verbs: ['get'], nonResourceURLs: ['/m*'] }], [{ verbs: ['get'], nonResourceURLs: ['/metrics'] }]),
    '',
  );
});
