/** Apps in each language, with real dependencies from their registries, through the real runtimes and buildpacks. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openStagingBed, type StagingBed } from '#testing/staging-bed.ts';

let bench: StagingBed;

before(async () => {
  bench = await openStagingBed();
});

after(() => bench[Symbol.asyncDispose]());

const EXAMPLES = join(import.meta.dirname, '..', '..', 'examples');

function example(name: string): Record<string, string> {
  const directory = join(EXAMPLES, name);
  const files: Record<string, string> = {};
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[path.slice(directory.length + 1)] = readFileSync(path, 'utf8');
  }
  return files;
}

/** An error of the build whose words match, without a stack trace. */
async function refused(app: string, files: Record<string, string>, words: RegExp): Promise<void> {
  await assert.rejects(bench.stage(app, files), (error: Error & { status?: number }) => {
    assert.equal(error.status, 51, error.message);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /\n\s+at /);
    return true;
  });
}

test('Python, pip: hashes are checked, and a second push stores nothing of the dependencies', async () => {
  const files = example('python-flask');
  const first = await bench.stage('flask', files);
  assert.match(first.output, /Dependencies \(pip\)/);
  assert.deepEqual(first.stored, ['storing layer sampan/python:venv']);
  assert.deepEqual(first.exported.processTypes, { web: 'gunicorn --bind 0.0.0.0:$PORT app:app' });
  assert.match((await bench.ask('flask')).body, /^Hello from Python 3\./);
  const changed = { ...files, 'app.py': (files['app.py'] ?? '').replace('Hello', 'Greetings') };
  const second = await bench.stage('flask', changed);
  assert.deepEqual(second.stored, []);
  assert.match(second.output, /unchanged/);
  assert.match((await bench.ask('flask')).body, /^Greetings/);
  const wrong = (files['requirements.txt'] ?? '').replaceAll(/sha256:..../g, 'sha256:0000');
  await refused('flask', { ...files, 'requirements.txt': wrong }, /DO NOT MATCH THE HASHES/);
});

test('Python, uv: what uv.lock names, and nothing of the development group', async () => {
  const files = example('python-fastapi');
  const first = await bench.stage('fastapi', files);
  assert.match(first.output, /Dependencies \(uv\)/);
  assert.deepEqual(first.exported.processTypes, { web: 'uvicorn --host 0.0.0.0 --port $PORT main:app' });
  assert.match((await bench.ask('fastapi')).body, /"items":0/);
  const again = await bench.stage('fastapi', files);
  assert.deepEqual(again.stored, []);
  assert.equal(again.exported.digest, first.exported.digest);
  const stale = (files['pyproject.toml'] ?? '').replace('"uvicorn>=0.32"', '"uvicorn>=0.32", "six>=1.16"');
  await refused('fastapi', { ...files, 'pyproject.toml': stale }, /uv\.lock.* needs to be updated/s);
});

test('Python, Poetry: what poetry.lock names', async () => {
  const directory = join(import.meta.dirname, 'testdata', 'poetry');
  const files = {
    'pyproject.toml': readFileSync(join(directory, 'pyproject.toml'), 'utf8'),
    'poetry.lock': readFileSync(join(directory, 'poetry.lock'), 'utf8'),
    'server.py': `import http.server, os, six
class Hello(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    self.send_response(200); self.end_headers(); self.wfile.write(('six ' + six.__version__).encode())
http.server.HTTPServer(('', int(os.environ['PORT'])), Hello).serve_forever()
`,
  };
  const first = await bench.stage('poetry', files);
  assert.match(first.output, /Dependencies \(poetry\)/);
  assert.match((await bench.ask('poetry')).body, /^six 1\./);
  const layers = (await bench.stage('poetry', files)).stored;
  assert.deepEqual(layers, []);
});

test('Python: a dependency in C begins the build again with a compiler, which the app does not get', async () => {
  const files = {
    'requirements.txt': '--no-binary psutil\npsutil==7.0.0\n',
    'app.py': `import http.server, os, psutil
class Hello(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    self.send_response(200); self.end_headers(); self.wfile.write((psutil.__version__ + ' ' + str(os.path.exists('/usr/bin/gcc'))).encode())
http.server.HTTPServer(('', int(os.environ['PORT'])), Hello).serve_forever()
`,
  };
  await bench.stage('compiled', files);
  assert.equal((await bench.ask('compiled')).body, '7.0.0 False');
  const again = await bench.stage('compiled', files);
  assert.deepEqual(again.stored, []);
});

test('Python: a project without a lockfile, Django with its static files, and what cannot be had', async () => {
  const files = {
    'requirements.txt': 'django>=4.2\ngunicorn\n',
    'manage.py': `import os, sys
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
`,
    'shop/__init__.py': '',
    'shop/settings.py': `SECRET_KEY = 'x'
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'shop.urls'
INSTALLED_APPS = ['django.contrib.staticfiles']
STATIC_URL = '/static/'
STATIC_ROOT = 'collected'
STATICFILES_DIRS = ['assets']
`,
    'shop/urls.py': `from django.http import HttpResponse
from django.urls import path
urlpatterns = [path('', lambda request: HttpResponse(open('collected/a.txt').read()))]
`,
    'shop/wsgi.py': `import os
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
`,
    'assets/a.txt': 'collected',
  };
  const { output, exported } = await bench.stage('django', files);
  assert.match(output, /not every version is fixed/);
  assert.deepEqual(exported.processTypes, { web: 'gunicorn --bind 0.0.0.0:$PORT shop.wsgi' });
  assert.equal((await bench.ask('django')).body, 'collected');
  await refused(
    'refused',
    { 'app.py': '', 'runtime.txt': 'python-2.7.18\n' },
    /runtime\.txt asks for Python "2\.7\.18", which cannot be had; there is Python 3\./,
  );
  await refused('refused', { Pipfile: '' }, /pipenv requirements/);
  await refused(
    'refused',
    { 'requirements.txt': 'sampan-has-no-such-package==1\n' },
    /the command above failed \(pip install/,
  );
});
