import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shippedBuildpacks } from './builder/builder.ts';
import { chosenBuildpacks, listedName } from './buildpack-names.ts';

test("buildpacks go by Cloud Foundry's names, short names and ids", async () => {
  const shipped = await shippedBuildpacks();
  assert.deepEqual(
    shipped.map(({ id }) => listedName(id)),
    ['staticfile_buildpack', 'procfile_buildpack', 'nodejs_buildpack', 'binary_buildpack'],
  );
  assert.deepEqual(chosenBuildpacks(['nodejs_buildpack', 'Binary', 'sampan/procfile'], shipped), [
    'sampan/nodejs',
    'sampan/binary',
    'sampan/procfile',
  ]);
  assert.throws(() => chosenBuildpacks(['ruby_buildpack'], shipped), {
    code: 'no-app-detected',
    message: /there is no such buildpack; there are staticfile_buildpack/,
  });
  assert.throws(() => chosenBuildpacks(['https://github.com/x/y.git'], shipped), { message: /not supported/ });
});
