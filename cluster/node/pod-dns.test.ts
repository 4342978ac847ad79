/** resolv.conf as a kubelet makes it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostResolver } from '#lib/dns/resolv-conf.ts';
import { podObject } from '#testing/agent-pod.ts';
import type { PodDNSConfig, PodSpec } from '../kinds/types/core.ts';
import { dnsOf } from './pod-dns.ts';

const names = { server: '10.96.0.10', domain: 'cluster.local' };
const own = ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local'];
const host = hostResolver();
const cluster = { servers: ['10.96.0.10'], searches: [...own, ...host.searches], options: ['ndots:5'] };
const of = (spec: Omit<Partial<PodSpec>, 'containers'>, annotations: Record<string, string> = {}) =>
  dnsOf(podObject('a', spec, annotations), names);

test('by policy', () => {
  assert.deepEqual(of({}).dns, cluster);
  assert.deepEqual(of({ dnsPolicy: 'ClusterFirst' }).dns, cluster);
  assert.equal(of({ dnsPolicy: 'Default' }).dns, undefined);
  assert.equal(of({ dnsPolicy: 'ClusterFirst', hostNetwork: true }).dns, undefined);
  assert.deepEqual(of({ dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }).dns, cluster);
  const dnsConfig = { nameservers: ['192.0.2.1'], searches: ['example.com'], options: [{ name: 'edns0' }] };
  const given = { servers: ['192.0.2.1'], searches: ['example.com'], options: ['edns0'] };
  assert.deepEqual(of({ dnsPolicy: 'None', dnsConfig }).dns, given);
  assert.equal(of({}, { 'node.sampan.dev/egress': 'internet' }).dns, undefined, 'a build reaches no server of ours');
  assert.equal(dnsOf(podObject('a')).dns, undefined, 'a node without names of the cluster');
});

test('what the pod adds: each once, options by their names', () => {
  const dnsConfig: PodDNSConfig = {
    nameservers: ['192.0.2.1', '10.96.0.10'],
    searches: ['example.com', 'cluster.local'],
    options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
  };
  assert.deepEqual(of({ dnsConfig }), {
    dns: {
      servers: ['10.96.0.10', '192.0.2.1'],
      searches: [...own, ...host.searches, 'example.com'],
      options: ['ndots:2', 'edns0'],
    },
    omitted: [],
  });
});

test('what does not fit is left out, and said', () => {
  const nameservers = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
  const searches = Array.from({ length: 40 }, (_, index) => `s${index}.example.com`);
  const many = of({ dnsConfig: { nameservers, searches } });
  assert.deepEqual(many.dns?.servers, ['10.96.0.10', '192.0.2.1', '192.0.2.2']);
  assert.equal(many.dns?.searches?.length, 32);
  assert.match(
    many.omitted[0] ?? '',
    /^Nameserver limits were exceeded, .* line is: 10\.96\.0\.10 192\.0\.2\.1 192\.0\.2\.2$/,
  );
  assert.match(many.omitted[1] ?? '', /^Search Line limits were exceeded, .* line is: default\.svc\.cluster\.local /);
  const long = of({
    dnsPolicy: 'None',
    dnsConfig: { searches: Array.from({ length: 12 }, (_, at) => `${at}`.repeat(200)) },
  });
  assert.ok((long.dns?.searches?.join(' ').length ?? 0) <= 2048);
});
