import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Container, PodSpec } from '../kinds/types/core.ts';
import { parseResources, podRequests } from './resources.ts';
import { makePod } from './scheduling.fixture.ts';

const asks = (name: string, cpu: string, restartPolicy?: string): Container => ({
  name,
  resources: { requests: { cpu } },
  ...(restartPolicy && { restartPolicy }),
});

describe('pod requests', () => {
  const cpuOf = (spec: Partial<PodSpec>): number => podRequests(makePod(spec)).cpu;
  const cases: [string, Partial<PodSpec>, number][] = [
    ['containers are added', { containers: [asks('a', '100m'), asks('b', '0.25')] }, 350],
    [
      'the greatest init container, where it needs more',
      { containers: [asks('a', '100m')], initContainers: [asks('i', '1'), asks('j', '300m')] },
      1000,
    ],
    [
      'a sidecar beside the init containers after it',
      { containers: [asks('a', '100m')], initContainers: [asks('s', '50m', 'Always'), asks('i', '200m')] },
      250,
    ],
    [
      'a sidecar not beside the init containers before it',
      { containers: [asks('a', '10m')], initContainers: [asks('i', '200m'), asks('s', '50m', 'Always')] },
      200,
    ],
    [
      'sidecars beside the containers',
      { containers: [asks('a', '300m')], initContainers: [asks('s', '50m', 'Always'), asks('i', '200m')] },
      350,
    ],
    ['overhead comes on top', { containers: [asks('a', '100m')], overhead: { cpu: '10m' } }, 110],
    ['a fraction is rounded up', { containers: [asks('a', '0.1')] }, 100],
    [
      'limits count where there is no request',
      { containers: [{ name: 'a', resources: { limits: { cpu: '2' } } }] },
      2000,
    ],
  ];
  for (const [what, spec, cpu] of cases) it(what, () => assert.equal(cpuOf(spec), cpu));

  it('takes something for containers that name nothing, for scores only', () => {
    const spec = makePod({ containers: [asks('a', '1'), { name: 'b' }] });
    assert.equal(podRequests(spec).cpu, 1000);
    const scored = podRequests(spec, true);
    assert.deepEqual([scored.cpu, scored.memory], [1100, 2 * 200 * 1024 * 1024]);
  });

  it('keeps extended resources by name', () => {
    const { others } = parseResources({ 'example.com/gpu': '2', 'hugepages-2Mi': '4Mi', cpu: '1' });
    assert.deepEqual(
      [...(others ?? [])],
      [
        ['example.com/gpu', 2],
        ['hugepages-2Mi', 4 * 2 ** 20],
      ],
    );
  });
});
