import { join } from 'node:path';
import { it } from 'node:test';
import { killRounds } from '#testing/store-contract.ts';
import { openSqliteStore } from './open.ts';

it('sqlite store: 1,000 rounds of kill -9 lose no acknowledged write', async () => {
  await killRounds(
    {
      name: 'sqlite',
      open: (directory) => openSqliteStore({ path: join(directory, 'store.db') }),
      killedWriter: new URL('./killed-writer.fixture.ts', import.meta.url),
    },
    1000,
  );
});
