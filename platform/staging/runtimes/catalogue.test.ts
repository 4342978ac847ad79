import assert from 'node:assert/strict';
import { test } from 'node:test';
import { offersOf, recipeOf } from './catalogue.ts';

test('what a release offers is known by its packages', () => {
  const offers = offersOf({
    'python3.9': '3.9.2-1',
    'python3.11': '1:3.11.2-6+deb12u6',
    'openjdk-17-jre-headless': '17.0.15+6-1~deb12u1',
    'openjdk-21-jre-headless': '21.0.7+6-1',
    tomcat10: '10.1.34-0+deb12u2',
    'ruby3.1': '3.1.7+really3.1.2-0+deb12u1',
    'php8.2-fpm': '8.2.36-1~deb12u1',
    gcc: '4:12.2.0-3',
    zip: '3.0',
  });
  assert.deepEqual(
    offers.map(({ name, version }) => `${name} ${version}`),
    [
      'c-gcc 12.2.0',
      'openjdk-17 17.0.15',
      'openjdk-21 21.0.7',
      'php-8.2 8.2.36',
      'python-3.9 3.9.2',
      'python-3.11 3.11.2',
      'ruby-3.1 3.1.2',
      'tomcat-10 10.1.34',
    ],
  );
  assert.deepEqual(recipeOf('python-3.11', offers)?.build, ['python3.11-venv']);
  assert.deepEqual(recipeOf('openjdk-17', offers)?.launch, ['openjdk-17-jre-headless']);
  assert.equal(recipeOf('openjdk-17', offers)?.over, undefined);
  assert.equal(recipeOf('tomcat-10', offers)?.over, 'openjdk-21');
  const compilers = recipeOf('python-3.11-dev', offers);
  assert.equal(compilers?.over, 'python-3.11');
  assert.deepEqual(compilers.launch, []);
  assert.ok(compilers.build.includes('python3.11-dev'));
});

test('a name that is not offered makes nothing', () => {
  const offers = offersOf({ 'python3.11': '3.11.2-6', gcc: '4:12.2.0-3' });
  for (const name of ['python-3.12', 'python-3.11-dev-dev', 'python', 'c-gcc-dev', '../python-3.11', '']) {
    assert.equal(recipeOf(name, offers), undefined, name);
  }
});
