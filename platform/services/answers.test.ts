import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from '#testing/fuzz.ts';
import { readAnswer, readBound, readFetched, readProgress, readProvisioned, type Question } from './answers.ts';
import { brokerParsers } from './parsers.fixture.ts';
import { BrokerError } from './services.ts';

const response = (status: number, text: string | undefined = '{}') => ({ status, reason: '', text });

/** What an answer to this question is: done, accepted, or failed with or without an orphan. */
function outcome(question: Question, status: number, text?: string): string {
  try {
    return readAnswer(question, response(status, text)).accepted ? 'accepted' : 'done';
  } catch (error) {
    assert.ok(error instanceof BrokerError);
    return error.orphan ? 'orphan' : 'failed';
  }
}

test('an answer is what the specification’s table says', () => {
  const table: [number, string, Record<Question, string>][] = [
    [200, '{}', { provision: 'done', bind: 'done', update: 'done', deprovision: 'done', unbind: 'done' }],
    [200, 'x', { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [201, '{}', { provision: 'done', bind: 'done', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [201, 'x', { provision: 'orphan', bind: 'orphan', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [
      202,
      '{}',
      { provision: 'accepted', bind: 'accepted', update: 'accepted', deprovision: 'accepted', unbind: 'accepted' },
    ],
    [202, '[', { provision: 'orphan', bind: 'orphan', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [204, '', { provision: 'orphan', bind: 'orphan', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [302, '{}', { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [400, '{}', { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [408, '{}', { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [409, '{}', { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [410, '{}', { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'done', unbind: 'done' }],
    [
      422,
      '{"error":"AsyncRequired"}',
      { provision: 'failed', bind: 'failed', update: 'failed', deprovision: 'failed', unbind: 'failed' },
    ],
    [500, '{}', { provision: 'orphan', bind: 'orphan', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
    [503, '', { provision: 'orphan', bind: 'orphan', update: 'failed', deprovision: 'failed', unbind: 'failed' }],
  ];
  for (const [status, text, expected] of table) {
    for (const [question, what] of Object.entries(expected)) {
      assert.equal(outcome(question as Question, status, text), what, `${question} ${status} ${text}`);
    }
  }
  assert.throws(() => readAnswer('provision', response(202, JSON.stringify({ operation: 5 }))), /"operation" must be/);
  assert.throws(() => readAnswer('bind', response(201, '['.repeat(100_000))), /expected valid JSON object/);
});

test('refusals are told in Cloud Foundry’s words, and credentials in none', () => {
  const words = (status: number, text: string) => {
    try {
      readAnswer('bind', response(status, text));
    } catch (error) {
      return String((error as Error).message);
    }
    throw new Error('it was taken');
  };
  assert.match(words(401, '{}'), /Authentication with the service broker failed/);
  assert.match(words(422, '{"error":"RequiresApp"}'), /through binding an application only/);
  assert.match(words(422, '{"error":"ConcurrencyError"}'), /in parallel with other running operations/);
  assert.equal(words(409, '{"description":"taken"}'), 'Service broker error: taken');
  assert.equal(words(409, ''), 'Resource conflict');
  assert.match(words(500, 'it broke'), /Status Code: 500 , Body: it broke$/);
  assert.doesNotMatch(words(203, '{"credentials":{"password":"hush"}}'), /hush/);
  assert.ok(words(500, 'x'.repeat(100_000)).length < 9_000);
});

test('what a binding brings must be what its service may bring', () => {
  const bound = (body: Record<string, unknown>, requires: string[] = []) => readBound({ body, orphan: true }, requires);
  assert.deepEqual(bound({}), { credentials: {}, volumeMounts: [] });
  assert.deepEqual(bound({ syslog_drain_url: 'syslog://x:1' }, ['syslog_drain']).syslogDrainUrl, 'syslog://x:1');
  assert.throws(() => bound({ syslog_drain_url: 'syslog://x:1' }), /not registered as a logging service/);
  assert.throws(() => bound({ credentials: 'x' }), /"credentials" must be an object/);
  assert.throws(() => bound({ credentials: { x: 'y'.repeat(70_000) } }), /at most 64 KiB/);
  assert.throws(() => bound({ route_service_url: 'http://x' }), /must begin with https/);
  assert.throws(() => bound({ volume_mounts: [{ driver: 'nfs' }] }), /volume mount services is disabled/);
  assert.throws(() => readProvisioned({ body: { metadata: { labels: 1 } }, orphan: true }), /"metadata" must be/);
  assert.throws(() => readFetched(response(404)), /Status Code: 404/);
});

test('progress that says nothing is asked for again', () => {
  const state = (status: number, text: string) => readProgress(response(status, text)).state;
  assert.equal(state(200, '{"state":"succeeded"}'), 'succeeded');
  assert.equal(state(200, '{"state":"failed","description":7}'), 'failed');
  assert.equal(state(410, ''), 'gone');
  for (const [status, text] of [
    [200, '{"state":"done"}'],
    [200, 'x'],
    [500, '{"state":"succeeded"}'],
    [302, ''],
  ] as const) {
    assert.equal(state(status, text), 'unclear');
  }
  assert.equal(readProgress({ ...response(200, '{"state":"in progress"}'), retryAfter: 9 }).retryAfter, 9);
});

for (const parser of brokerParsers) {
  test(`fuzz: ${parser.name}`, async () => {
    const report = await fuzz({ ...parser, inputs: 3_000 });
    assert.ok(report.outcomes > 3, JSON.stringify(report));
  });
}
