import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { matchesGolden } from '#testing/golden.ts';
import type { Instance } from '../instance.ts';
import { type CertificateFact, readCertificateFacts } from './certificate-facts.ts';
import { judgeCertificates } from './certificates.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-11-26T12:00:00Z');
const inDays = (days: number): number => NOW + days * DAY;

const good: CertificateFact[] = [
  { name: 'ca', source: 'authority', notAfter: inDays(3000) },
  { name: 'kubernetes', source: 'instance', notAfter: inDays(200) },
  { name: '*.example.com', source: 'own', notAfter: inDays(120), renewAt: inDays(1) },
  // It is being made anew: nobody needs to know yet.
  { name: 'shop.example.com', source: 'acme', notAfter: inDays(29), renewAt: inDays(-1) },
  { name: 'new.example.com', source: 'acme', notAfter: undefined },
  { name: 'brought.example.com', source: 'uploaded', notAfter: inDays(60) },
];

test('certificates that stand well are one line', () => {
  assert.deepEqual(judgeCertificates(good, NOW), [
    {
      name: 'certificates',
      level: 'ok',
      code: 'certificate',
      found: '6; the first to end is shop.example.com, on 2026-12-25',
      remedy: '',
    },
  ]);
  assert.deepEqual(judgeCertificates([], NOW), []);
});

test('each that is over, ends soon or cannot be made is told with its remedy', () => {
  const wrong: CertificateFact[] = [
    { name: 'ca', source: 'authority', notAfter: inDays(80) },
    { name: 'ca', source: 'authority', notAfter: inDays(-1) },
    { name: 'front-proxy-ca', source: 'authority', notAfter: inDays(89) },
    { name: 'agent', source: 'instance', notAfter: inDays(20) },
    { name: 'kubernetes', source: 'instance', notAfter: inDays(-3) },
    { name: 'registry', source: 'instance', notAfter: undefined, problem: 'wrong tag' },
    { name: 'brought.example.com', source: 'uploaded', notAfter: inDays(7) },
    { name: 'late.example.com', source: 'uploaded', notAfter: NOW },
    { name: 'shop.example.com', source: 'acme', notAfter: inDays(10), renewAt: inDays(-20) },
    { name: 'new.example.com', source: 'acme', notAfter: undefined, problem: 'no answer at port 80' },
    { name: 'old.example.com', source: 'acme', notAfter: inDays(-2), renewAt: inDays(-32), problem: 'rate limited' },
    { name: '*.example.com', source: 'own', notAfter: inDays(-1), renewAt: inDays(-100) },
  ];
  const text = judgeCertificates([...good, ...wrong], NOW)
    .map(({ level, found, remedy }) => `${level}: ${found}\n  ${remedy}\n`)
    .join('');
  matchesGolden(join(import.meta.dirname, 'testdata', 'certificates.txt'), text);
  assert.equal(judgeCertificates([...good, ...wrong], NOW).length, wrong.length);
});

test('they are read from the files of the instance; one that is none is told', async () => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sampan-doctor-pki-'));
  const instance = { dataDirectory, ports: { kubernetes: 1 } } as unknown as Instance;
  try {
    assert.deepEqual(await readCertificateFacts(instance), [], 'it was never started');
    const directory = join(dataDirectory, 'pki');
    mkdirSync(directory);
    const authority = await createAuthority({ commonName: 'test', days: 3650 });
    const leaf = await issueCertificate(authority, { commonName: 'admin', usages: ['client'], days: 10 });
    for (const [name, pair] of [
      ['ca', authority],
      ['admin', leaf],
    ] as const) {
      writeFileSync(join(directory, `${name}.crt`), pair.certificate);
      writeFileSync(join(directory, `${name}.key`), pair.key);
    }
    writeFileSync(join(directory, 'router.crt'), 'none');
    const facts = await readCertificateFacts(instance);
    assert.deepEqual(
      facts.map(({ name, source }) => [name, source]),
      [
        ['admin', 'instance'],
        ['ca', 'authority'],
        ['router', 'instance'],
      ],
    );
    assert.deepEqual(
      judgeCertificates(facts, Date.now()).map(({ level, found }) => [level, found.split(' ')[0]]),
      [
        ['warning', 'admin'],
        ['error', 'router'],
      ],
    );
  } finally {
    rmSync(dataDirectory, { recursive: true, force: true });
  }
});
