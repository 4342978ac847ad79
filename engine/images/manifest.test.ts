import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '#lib/digest.ts';
import {
  choosePlatform,
  type Descriptor,
  OCI_INDEX,
  OCI_MANIFEST,
  parseImageConfig,
  parseManifest,
} from './manifest.ts';
import { canonicalReference, parseReference } from './reference.ts';

const D = digestOf('x');
const LAYER = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: D, size: 1 };
const GOOD = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: LAYER, layers: [LAYER] };
const bytes = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

test('references and their canonical form', () => {
  const cases: [string, string][] = [
    ['app', 'app:latest'],
    ['team/app:v1', 'team/app:v1'],
    ['localhost/app', 'localhost/app:latest'],
    ['host:5000/a/b_c/d-e:T.1', 'host:5000/a/b_c/d-e:T.1'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest'],
    ['index.docker.io/a/b:1', 'docker.io/a/b:1'],
    [`host.example/app:1@${D}`, `host.example/app@${D}`],
    [`app@${D}`, `app@${D}`],
  ];
  for (const [text, canonical] of cases) assert.equal(canonicalReference(parseReference(text)), canonical);
});

test('malformed references are refused by their part', () => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    ['x'.repeat(600), /longer than 512/],
    ['App', /upper case/],
    ['host.example/', /repository/],
    ['/app', /repository/],
    ['app:', /tag/],
    ['app:-x', /tag/],
    [`app:${'t'.repeat(129)}`, /tag/],
    ['app@sha256:12', /digest/],
    ['app@', /digest/],
    ['host.example/../app', /repository/],
    ['host.example/a//b', /repository/],
    ['ho st.example/app', /host/],
    ['user@host.example/app', /digest/],
    ['host.example:x/app', /host/],
    ['a\nb', /repository/],
    ['app:1:2', /tag/],
  ];
  for (const [text, message] of cases) assert.throws(() => parseReference(text), { code: 'invalid', message }, text);
});

test('malformed manifests are refused by their field', () => {
  const cases: [unknown, RegExp][] = [
    ['', /no JSON/],
    [Buffer.from([0xff, 0xfe]).toString('latin1'), /no JSON/],
    ['[]', /no JSON object/],
    ['null', /no JSON object/],
    [{}, /schemaVersion is undefined/],
    [{ ...GOOD, schemaVersion: 1 }, /schemaVersion is 1/],
    [{ ...GOOD, mediaType: 7 }, /mediaType is no string/],
    [{ ...GOOD, mediaType: 'text/plain' }, /mediaType "text\/plain"/],
    [{ ...GOOD, mediaType: OCI_INDEX }, /fields of its media type/],
    [{ ...GOOD, manifests: [] }, /both/],
    [{ ...GOOD, config: undefined }, /config is no JSON object/],
    [{ ...GOOD, layers: {} }, /layers is no list/],
    [{ ...GOOD, layers: Array.from({ length: 501 }, () => LAYER) }, /501 entries/],
    [{ ...GOOD, layers: [null] }, /layers\[0\] is no JSON object/],
    [{ ...GOOD, layers: [{ ...LAYER, digest: 'sha256:../../x' }] }, /layers\[0\]\.digest/],
    [{ ...GOOD, layers: [{ ...LAYER, digest: 'constructor:x' }] }, /layers\[0\]\.digest/],
    [{ ...GOOD, layers: [{ ...LAYER, size: -1 }] }, /layers\[0\]\.size/],
    [{ ...GOOD, layers: [{ ...LAYER, size: 1e30 }] }, /layers\[0\]\.size/],
    [{ ...GOOD, layers: [{ ...LAYER, size: '1' }] }, /layers\[0\]\.size/],
    [{ ...GOOD, layers: [{ ...LAYER, mediaType: undefined }] }, /layers\[0\]\.mediaType/],
    [{ ...GOOD, subject: {} }, /subject/],
    [{ ...GOOD, annotations: { a: 1 } }, /annotations\["a"\]/],
    [{ schemaVersion: 2, manifests: [{ ...LAYER, platform: { os: 1 } }] }, /platform\.os/],
  ];
  for (const [document, message] of cases) {
    assert.throws(() => parseManifest(bytes(document)), { code: 'invalid', message }, String(message));
  }
  assert.throws(() => parseManifest(bytes(GOOD), OCI_INDEX), { message: /sent as/ });
  assert.equal(parseManifest(bytes({ ...GOOD, mediaType: undefined }), OCI_MANIFEST).mediaType, OCI_MANIFEST);
});

test('malformed configs are refused by their field', () => {
  const rootfs = { type: 'layers', diff_ids: [D] };
  const cases: [unknown, RegExp][] = [
    ['{', /no JSON/],
    [{}, /rootfs/],
    [{ rootfs: { diff_ids: ['x'] } }, /diff_ids holds "x"/],
    [{ rootfs: { diff_ids: 'x' } }, /diff_ids is no list/],
    [{ rootfs, config: { Env: 'A=b' } }, /config\.Env/],
    [{ rootfs, config: { Cmd: [1] } }, /config\.Cmd/],
    [{ rootfs, config: { User: 0 } }, /config\.User/],
    [{ rootfs, config: { Labels: { a: {} } } }, /config\.Labels/],
    [{ rootfs, config: [] }, /config is no JSON object/],
  ];
  for (const [document, message] of cases) {
    assert.throws(() => parseImageConfig(bytes(document)), { code: 'invalid', message }, String(message));
  }
  const parsed = parseImageConfig(bytes({ rootfs, config: null, created: 'yesterday' }));
  assert.deepEqual(parsed, {
    createdAt: 0,
    config: { architecture: 'unknown', os: 'unknown', layers: [D] },
    history: [],
  });
});

test('platforms: the plain variant first, attestations never', () => {
  const on = (os: string, architecture: string, variant?: string): Descriptor => ({
    ...LAYER,
    digest: digestOf(`${os}${architecture}${variant}`),
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
  });
  const all = [on('unknown', 'unknown'), on('linux', 'amd64', 'v3'), on('linux', 'amd64'), on('linux', 'arm64', 'v8')];
  assert.equal(choosePlatform(all, 'x64'), all[2]);
  assert.equal(choosePlatform(all, 'arm64'), all[3]);
  assert.equal(choosePlatform([LAYER], 'x64'), LAYER);
  assert.throws(() => choosePlatform(all, 'riscv64'), { message: /it has unknown\/unknown, linux\/amd64/ });
  assert.throws(() => choosePlatform([], 'x64'), { message: /it has none/ });
});
