import { join } from 'node:path';
import { test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { replacement } from '../services/table.ts';
import { renderDnsTable } from './rules.ts';

test('the whole table', () => {
  const rules = renderDnsTable({ clusterIp: '10.87.0.10', gateway: '10.86.3.1', podCidr: '10.86.3.0/24' }, 4053);
  matchesGolden(join(import.meta.dirname, 'testdata/table.nft'), replacement('sampan-golden.dns', rules));
});
