import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';

const PATH = '/api/v1/namespaces/default/configmaps';

/** Query, status, message. */
const REFUSED: [string, number, RegExp][] = [
  [
    'resourceVersionMatch=Exact',
    422,
    /^ListOptions\.meta\.k8s\.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided$/,
  ],
  [
    'resourceVersionMatch=Wrong&resourceVersion=1',
    422,
    /resourceVersionMatch: Unsupported value: "Wrong": supported values: "Exact", "NotOlderThan", ""$/,
  ],
  [
    'resourceVersionMatch=Exact&resourceVersion=0',
    422,
    /resourceVersionMatch "exact" is forbidden for resourceVersion "0"$/,
  ],
  [
    'resourceVersionMatch=Exact&resourceVersion=1&continue=x',
    422,
    /resourceVersionMatch is forbidden when continue is provided/,
  ],
  ['sendInitialEvents=true', 422, /sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list$/],
  [
    'watch=1&resourceVersionMatch=NotOlderThan',
    422,
    /resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided$/,
  ],
  ['watch=1&sendInitialEvents=true', 422, /sendInitialEvents requires setting resourceVersionMatch to NotOlderThan$/],
  ['watch=1&sendInitialEvents=true&resourceVersionMatch=Exact', 422, /supported values: "NotOlderThan"$/],
  ['resourceVersion=abc', 400, /resourceVersion: Invalid value: "abc"/],
  ['limit=-1', 400, /limit: Invalid value: "-1"/],
  ['labelSelector=a%20b%20c', 400, /unable to parse requirement/],
  ['fieldSelector=spec.nothing=x', 400, /field label not supported: spec\.nothing/],
  [
    'resourceVersion=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJ4In0',
    400,
    /specifying resource version is not allowed when using continue/,
  ],
];

describe('API server: options of lists and watches', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
    for (const name of ['a', 'b', 'c', 'd']) await fixture.call('POST', PATH, { body: { metadata: { name } } });
  });
  after(() => fixture.close());

  const names = async (query: string) =>
    (await fixture.call('GET', `${PATH}?${query}`)).json.items.map(({ metadata }) => metadata.name);

  for (const [query, status, message] of REFUSED)
    test(`refused: ${query}`, async () => {
      const answer = await fixture.call('GET', `${PATH}?${query}`);
      assert.equal(answer.status, status, answer.text);
      assert.match(answer.json.message, message);
    });

  test('a page of a revision is of exactly that one, a whole list may be newer', async () => {
    const { resourceVersion } = (await fixture.call('GET', PATH)).json.metadata;
    await fixture.call('POST', PATH, { body: { metadata: { name: 'aa' } } });
    assert.deepEqual(await names(`resourceVersion=${resourceVersion}&limit=2`), ['a', 'b']);
    assert.deepEqual(await names(`resourceVersion=${resourceVersion}&limit=2&resourceVersionMatch=NotOlderThan`), [
      'a',
      'aa',
    ]);
    assert.equal((await names(`resourceVersion=${resourceVersion}`)).length, 5);
    assert.equal((await names(`resourceVersion=${resourceVersion}&resourceVersionMatch=Exact`)).length, 4);
    await fixture.call('DELETE', `${PATH}/aa`);
  });

  test('pages whose revision is forgotten go on with the token of the error', async () => {
    const first = await fixture.call('GET', `${PATH}?limit=2`);
    const { continue: token } = first.json.metadata as { continue?: string };
    await fixture.call('POST', PATH, { body: { metadata: { name: 'e' } } });
    await fixture.store.compact(await fixture.store.revision());
    const { status, json } = await fixture.call('GET', `${PATH}?limit=2&continue=${token}`);
    assert.deepEqual([status, json.reason], [410, 'Expired']);
    assert.match(json.message, /^The provided continue parameter is too old to display a consistent list result/);
    const { continue: next } = json.metadata as { continue?: string };
    assert.deepEqual(await names(`limit=2&continue=${next}`), ['c', 'd']);
    const { resourceVersion } = first.json.metadata;
    const exact = await fixture.call('GET', `${PATH}?resourceVersion=${resourceVersion}&resourceVersionMatch=Exact`);
    assert.deepEqual(
      [exact.status, exact.json.message],
      [410, 'The resourceVersion for the provided list is too old.'],
    );
    await fixture.call('DELETE', `${PATH}/e`);
  });

  test('pages are of one moment for five minutes, though nothing changed since', async () => {
    const first = await fixture.call('GET', `${PATH}?limit=2`);
    const { continue: token = '' } = first.json.metadata as { continue?: string };
    const content = JSON.parse(Buffer.from(token, 'base64url').toString()) as { at: number };
    const madeAt = (at: number): string => Buffer.from(JSON.stringify({ ...content, at })).toString('base64url');
    assert.deepEqual(await names(`limit=2&continue=${madeAt(content.at - 200_000)}`), ['c', 'd']);
    const { status, json } = await fixture.call('GET', `${PATH}?limit=2&continue=${madeAt(content.at - 400_000)}`);
    assert.deepEqual([status, json.reason], [410, 'Expired']);
    const { continue: next } = json.metadata as { continue?: string };
    assert.deepEqual(await names(`limit=2&continue=${next}`), ['c', 'd']);
  });

  test('a watch that wants no initial events gets none', async () => {
    const query = 'watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan';
    const events = await fixture.watch(`${PATH}?${query}`);
    await fixture.call('POST', PATH, { body: { metadata: { name: 'new' } } });
    const [event] = await take(events, 1);
    assert.equal(event?.object.metadata.name, 'new');
    await events.return(undefined);
  });
});
