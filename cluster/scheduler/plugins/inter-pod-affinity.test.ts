import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { namespaces } from '../../kinds/resources.ts';
import type { PodAffinityTerm } from '../../kinds/types/core.ts';
import { beginFilters, isCycle } from '../filter-cycle.ts';
import { createNominations } from '../nominations.ts';
import { clusterOf, contextWith, fitting, pod, type PodWords, refusals, scores } from '../scheduling.fixture.ts';
import { interPodAffinity } from './inter-pod-affinity.ts';

const plugin = interPodAffinity(
  contextWith([
    { resource: namespaces, object: { metadata: { name: 'team-a', labels: { team: 'a' } } } },
    { resource: namespaces, object: { metadata: { name: 'team-b', labels: { team: 'b' } } } },
  ]),
);

const term = (value: string, extra: Partial<PodAffinityTerm> = {}): PodAffinityTerm => ({
  topologyKey: 'zone',
  labelSelector: { matchLabels: { app: value } },
  ...extra,
});
type Words = Pick<PodWords, 'affinity'>;
const near = (...terms: PodAffinityTerm[]): Words => ({
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
});
const far = (...terms: PodAffinityTerm[]): Words => ({
  affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
});
const app = (value: string, words: PodWords = {}): ReturnType<typeof pod> => pod({ labels: { app: value }, ...words });

const zones = (inX: ReturnType<typeof pod>[], inY: ReturnType<typeof pod>[] = []) =>
  clusterOf(
    { name: 'x1', labels: { zone: 'x' }, pods: inX },
    { name: 'x2', labels: { zone: 'x' } },
    { name: 'y1', labels: { zone: 'y' }, pods: inY },
    { name: 'nowhere' },
  );

describe('InterPodAffinity', () => {
  it('near: every node of a domain that has one, and no node without the key', () => {
    const unmatched = "node(s) didn't match pod affinity rules";
    assert.deepEqual(refusals(plugin, app('web', near(term('cache'))), zones([app('cache')])), {
      x1: '',
      x2: '',
      y1: unmatched,
      nowhere: unmatched,
    });
  });

  it('far: no node of such a domain', () => {
    const unmatched = "node(s) didn't match pod anti-affinity rules";
    assert.deepEqual(refusals(plugin, app('web', far(term('web'))), zones([app('web')])), {
      x1: unmatched,
      x2: unmatched,
      y1: '',
      nowhere: '',
    });
  });

  it('those that are there keep away whom they do not want', () => {
    const unmatched = "node(s) didn't satisfy existing pods anti-affinity rules";
    assert.deepEqual(refusals(plugin, app('noise'), zones([app('quiet', far(term('noise')))])), {
      x1: unmatched,
      x2: unmatched,
      y1: '',
      nowhere: '',
    });
    assert.deepEqual(fitting(plugin, app('other'), zones([app('quiet', far(term('noise')))])), [
      'x1',
      'x2',
      'y1',
      'nowhere',
    ]);
  });

  it('the first of a group that wants to be together goes anywhere that has the key', () => {
    assert.deepEqual(fitting(plugin, app('a', near(term('a'))), zones([])), ['x1', 'x2', 'y1']);
    assert.deepEqual(fitting(plugin, app('b', near(term('a'))), zones([])), []);
    // Another one is there: now it must go to it.
    assert.deepEqual(fitting(plugin, app('a', near(term('a'))), zones([], [app('a')])), ['y1']);
  });

  it('all terms must hold, by pods that match all of them', () => {
    const wanted = near(term('a'), term('a', { topologyKey: 'zone', labelSelector: { matchLabels: { tier: '1' } } }));
    assert.deepEqual(fitting(plugin, app('w', wanted), zones([app('a')])), []);
    assert.deepEqual(fitting(plugin, app('w', wanted), zones([], [pod({ labels: { app: 'a', tier: '1' } })])), ['y1']);
  });

  it('a term means its own namespace, those it names, and those it selects', () => {
    const cluster = zones([app('db', { namespace: 'team-a' })], [app('db', { namespace: 'team-b' })]);
    const where = (extra: Partial<PodAffinityTerm>, namespace = 'default'): string[] =>
      fitting(plugin, app('web', { namespace, ...near(term('db', extra)) }), cluster);
    assert.deepEqual(where({}), []);
    assert.deepEqual(where({}, 'team-b'), ['y1']);
    assert.deepEqual(where({ namespaces: ['team-a'] }), ['x1', 'x2']);
    assert.deepEqual(where({ namespaceSelector: { matchLabels: { team: 'b' } } }), ['y1']);
    assert.deepEqual(where({ namespaceSelector: {} }), ['x1', 'x2', 'y1']);
    assert.deepEqual(where({ namespaces: ['team-a'], namespaceSelector: { matchLabels: { team: 'b' } } }), [
      'x1',
      'x2',
      'y1',
    ]);
    // A selector of namespaces alone means no longer the own one.
    assert.deepEqual(where({ namespaceSelector: { matchLabels: { team: 'a' } } }, 'team-b'), ['x1', 'x2']);
  });

  it('no label selector matches no pod, an empty one every pod', () => {
    const cluster = zones([app('a')]);
    assert.deepEqual(fitting(plugin, app('w', far({ topologyKey: 'zone' })), cluster), ['x1', 'x2', 'y1', 'nowhere']);
    assert.deepEqual(fitting(plugin, app('w', far({ topologyKey: 'zone', labelSelector: {} })), cluster), [
      'y1',
      'nowhere',
    ]);
  });

  it('counts what is taken away in thought, and put back', () => {
    const there = app('web');
    const cluster = zones([there]);
    const cycle = beginFilters([plugin], app('web', far(term('web'))), { cluster, nominations: createNominations() });
    assert.ok(isCycle(cycle));
    const x1 = cluster.node('x1');
    assert.ok(x1);
    cycle.remove(there, x1);
    assert.equal(cycle.check(x1), undefined);
    cycle.add(there, x1);
    assert.equal(cycle.check(x1)?.plugin, 'InterPodAffinity');
  });
});

describe('InterPodAffinity, scored', () => {
  const prefers = (
    kind: 'podAffinity' | 'podAntiAffinity',
    weight: number,
    podAffinityTerm: PodAffinityTerm,
  ): Words => ({
    affinity: { [kind]: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight, podAffinityTerm }] } },
  });

  it('likes to be near', () => {
    const cluster = zones([app('cache'), app('cache')], [app('cache')]);
    assert.deepEqual(scores(plugin, app('web', prefers('podAffinity', 5, term('cache'))), cluster), {
      x1: 100,
      x2: 100,
      y1: 50,
      nowhere: 0,
    });
  });

  it('likes to be far', () => {
    const cluster = zones([app('web'), app('web')], [app('web')]);
    assert.deepEqual(scores(plugin, app('web', prefers('podAntiAffinity', 5, term('web'))), cluster), {
      x1: 0,
      x2: 0,
      y1: 50,
      nowhere: 100,
    });
  });

  it('goes both ways, also for what the other one requires', () => {
    const liked = zones(
      [app('cache', prefers('podAffinity', 10, term('web')))],
      [app('cache', prefers('podAntiAffinity', 10, term('web')))],
    );
    assert.deepEqual(scores(plugin, app('web'), liked), { x1: 100, x2: 100, y1: 0, nowhere: 50 });
    const required = zones([app('cache', near(term('web')))]);
    assert.deepEqual(scores(plugin, app('web'), required), { x1: 100, x2: 100, y1: 0, nowhere: 0 });
  });

  it('has no opinion where nobody has', () => {
    assert.deepEqual(scores(plugin, app('web'), zones([app('web')])), { x1: 0, x2: 0, y1: 0, nowhere: 0 });
  });
});
