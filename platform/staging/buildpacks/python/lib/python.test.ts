import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Files, writeApp } from '#testing/sample-apps.ts';
import { installedPackages, packageOf } from './components.ts';
import { readRequirements } from './requirements.ts';
import { satisfiesVersion } from '../../../lifecycle/specifiers.ts';
import { startCommand } from './start-command.ts';

const root = mkdtempSync(join(tmpdir(), 'python-'));
after(() => rmSync(root, { recursive: true }));
let count = 0;

function source(files: Files): string {
  count += 1;
  return writeApp(join(root, String(count)), files);
}

test('specifiers as Python projects write them', () => {
  const fits = [
    '3.11',
    '3.11.2',
    '3',
    '3.11.*',
    '==3.11.*',
    '>=3.9',
    '>=3.9,<3.12',
    '>=3.9, <4',
    '~=3.11',
    '~=3.11.1',
    '^3.9',
    '~3.11',
    '!=3.10.*',
    '*',
    '>=3.8,<3.9 || >=3.11',
  ];
  const not = [
    '3.12',
    '3.11.4',
    '==3.11',
    '>=3.12',
    '<3.11',
    '~=3.12',
    '~=3.10.1',
    '^4.0',
    '~3.10',
    '!=3.11.*',
    'pypy3.9',
    'newest',
  ];
  for (const specifier of fits) assert.equal(satisfiesVersion('3.11.2', specifier), true, specifier);
  for (const specifier of not) assert.equal(satisfiesVersion('3.11.2', specifier), false, specifier);
});

test('requirements are pinned when the same text always means the same packages', () => {
  const read = (text: string, more: Files = {}) => {
    const directory = source({ 'requirements.txt': text, ...more });
    const { files, pinned } = readRequirements(join(directory, 'requirements.txt'));
    return [pinned, ...files.map((path) => path.slice(directory.length + 1))];
  };
  assert.deepEqual(read('# web\nflask==3.1.2  # why\ngunicorn[gevent]==23.0.0 ; python_version > "3"\n'), [
    true,
    'requirements.txt',
  ]);
  assert.deepEqual(read('flask==3.1.2 \\\n  --hash=sha256:ab \\\n  --hash=sha256:cd\n--only-binary :all:\n')[0], true);
  for (const line of ['flask', 'flask>=3', 'flask==3.*', '-e .', 'git+https://example.org/x.git'])
    assert.equal(read(line)[0], false, line);
  assert.deepEqual(read('-r base.txt\n-c limits/all.txt\n', { 'base.txt': 'a==1\n', 'limits/all.txt': 'b<2\n' }), [
    false,
    'requirements.txt',
    'base.txt',
    'limits/all.txt',
  ]);
});

test('an app that does not say how it is started', () => {
  const started = (files: Files, ...tools: string[]) => startCommand(new Set(tools), source(files));
  const flask = { 'app.py': 'from flask import Flask\napp = Flask(__name__)\n' };
  assert.equal(started(flask, 'gunicorn'), 'gunicorn --bind 0.0.0.0:$PORT app:app');
  assert.equal(started(flask), 'python app.py');
  const fast = { 'main.py': 'import fastapi\nservice: fastapi.FastAPI = fastapi.FastAPI(title="x")\n' };
  assert.equal(started(fast, 'uvicorn', 'gunicorn'), 'uvicorn --host 0.0.0.0 --port $PORT main:service');
  const factory = { 'wsgi.py': 'def create_app():\n  pass\n' };
  assert.equal(started(factory, 'gunicorn'), "gunicorn --bind 0.0.0.0:$PORT 'wsgi:create_app()'");
  const django = {
    'manage.py': "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n",
    'shop/wsgi.py': '',
    'admin/wsgi.py': '',
  };
  assert.equal(started(django, 'gunicorn'), 'gunicorn --bind 0.0.0.0:$PORT shop.wsgi');
  assert.equal(started({ 'tool.py': '' }, 'gunicorn'), undefined);
});

test('the bill of materials has what is installed, by its own word', () => {
  const site = 'lib/python3.11/site-packages';
  const environment = source({
    [`${site}/Flask_SQLAlchemy-3.1.1.dist-info/METADATA`]:
      'Metadata-Version: 2.3\r\nName: Flask_SQLAlchemy\r\nVersion: 3.1.1\r\n\r\nName: other\r\n',
    [`${site}/local-1.0+ours.1.dist-info/METADATA`]: 'Name: local\nVersion: 1.0+ours.1\n',
    [`${site}/broken-1.dist-info/METADATA`]: 'Name: broken\n\nVersion: 1\n',
    [`${site}/flask/METADATA`]: 'Name: nothing\nVersion: 1\n',
  });
  assert.deepEqual(installedPackages(environment), [
    { type: 'library', name: 'Flask_SQLAlchemy', version: '3.1.1', purl: 'pkg:pypi/flask-sqlalchemy@3.1.1' },
    { type: 'library', name: 'local', version: '1.0+ours.1', purl: 'pkg:pypi/local@1.0%2Bours.1' },
  ]);
  assert.equal(packageOf(''), undefined);
});
