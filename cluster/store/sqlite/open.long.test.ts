import { join } from 'node:path';
import { it } from 'node:test';
import { chaosRounds } from '#testing/store-chaos.ts';
import { openSqliteStore } from './open.ts';

it('sqlite store: 1,000 rounds of kill -9, and its clients were told the truth', async () => {
  await chaosRounds(
    {
      open: (directory) => openSqliteStore({ path: join(directory, 'store.db') }),
      program: new URL('./killed-clients.fixture.ts', import.meta.url),
    },
    1000,
  );
});
