/** Apps in each language, with real dependencies from their registries, through the real runtimes and buildpacks. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { example, refuses } from '#testing/language-apps.ts';
import { openStagingBed, type StagingBed } from '#testing/staging-bed.ts';

let bench: StagingBed;

before(async () => {
  bench = await openStagingBed();
});

after(() => bench[Symbol.asyncDispose]());

test('Python, pip: hashes are checked, and a second push stores nothing of the dependencies', async () => {
  const files = example('python-flask');
  const first = await bench.stage('flask', files);
  assert.match(first.output, /Dependencies \(pip\)/);
  assert.deepEqual(first.stored, ['storing layer sampan/python:venv']);
  assert.deepEqual(first.exported.processTypes, { web: 'gunicorn --bind 0.0.0.0:$PORT app:app' });
  assert.match((await bench.ask('flask')).body, /^Hello from Python 3\./);
  const packages = ({ components }: typeof first.exported) =>
    components.flatMap(({ purl }) => (purl?.startsWith('pkg:pypi/') ? [purl] : []));
  const pinned = [...(files['requirements.txt'] ?? '').matchAll(/^([\w-]+)==(\S+)/gm)];
  assert.deepEqual(
    packages(first.exported),
    pinned.map(([, name, version]) => `pkg:pypi/${name}@${version}`).toSorted(),
  );
  const changed = { ...files, 'app.py': (files['app.py'] ?? '').replace('Hello', 'Greetings') };
  const second = await bench.stage('flask', changed);
  assert.deepEqual(second.stored, []);
  assert.match(second.output, /unchanged/);
  assert.deepEqual(packages(second.exported), packages(first.exported), 'what is kept tells the same');
  assert.match((await bench.ask('flask')).body, /^Greetings/);
  const wrong = (files['requirements.txt'] ?? '').replaceAll(/sha256:..../g, 'sha256:0000');
  await refuses(bench, 'flask', { ...files, 'requirements.txt': wrong }, /DO NOT MATCH THE HASHES/);
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
  await refuses(bench, 'fastapi', { ...files, 'pyproject.toml': stale }, /uv\.lock.* needs to be updated/s);
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
    // The driver of PostgreSQL asks `pg_config` where its library is.
    'requirements.txt': '--no-binary psutil\npsutil==7.0.0\npsycopg2==2.9.10\n',
    'app.py': `import http.server, os, psutil, psycopg2
class Hello(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    self.send_response(200); self.end_headers(); self.wfile.write((psutil.__version__ + ' ' + str(psycopg2.__libpq_version__ > 0) + ' ' + str(os.path.exists('/usr/bin/gcc'))).encode())
http.server.HTTPServer(('', int(os.environ['PORT'])), Hello).serve_forever()
`,
  };
  await bench.stage('compiled', files);
  assert.equal((await bench.ask('compiled')).body, '7.0.0 True False');
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
  await refuses(
    bench,
    'refused',
    { 'app.py': '', 'runtime.txt': 'python-2.7.18\n' },
    /runtime\.txt asks for Python "2\.7\.18", which cannot be had; there is Python 3\./,
  );
  await refuses(bench, 'refused', { Pipfile: '' }, /pipenv requirements/);
  await refuses(
    bench,
    'refused',
    { 'requirements.txt': 'sampan-has-no-such-package==1\n' },
    /the command above failed \(pip install/,
  );
});

test('Go: two programs, the toolchain that go.mod names, and a second push that stores the programs alone', async () => {
  const files = example('go-web');
  const first = await bench.stage('go', files);
  assert.match(first.output, /go\.mod: go 1\.26: Go 1\.26\.\d+/);
  assert.deepEqual(first.exported.processTypes, { web: 'exec web', worker: 'exec worker' });
  assert.match((await bench.ask('go')).body, /^Hello from go1\.26\./);
  assert.match((await bench.ask('go', '/up/s')).body, /"up":/);
  const components = first.exported.components
    .map(({ purl }) => purl ?? '')
    .filter((purl) => purl.includes(':golang/'));
  assert.match(
    components.join(' '),
    /^pkg:golang\/github\.com\/go-chi\/chi\/v5@v5\.\S+ pkg:golang\/stdlib@1\.26\.\d+$/,
  );
  const again = await bench.stage('go', files);
  assert.match(again.output, /unchanged: taking those of the last build/);
  assert.doesNotMatch(again.output, /downloading/);
  assert.deepEqual(again.stored, ['storing layer sampan/go:targets']);
  assert.equal(again.exported.digest, first.exported.digest);
});

test('Go: vendored modules, one program at the root, no toolchain in the app, and what cannot be had', async () => {
  const files = {
    'go.mod': 'module example.com/vendored\n\ngo 1.24\n\ntoolchain go1.27.4\n\nrequire example.com/words v1.0.0\n',
    'vendor/modules.txt': '# example.com/words v1.0.0\n## explicit; go 1.20\nexample.com/words\n',
    'vendor/example.com/words/words.go': 'package words\n\nconst Hello = "vendored"\n',
    'main.go': `package main

import (
	"net/http"
	"os"

	"example.com/words"
)

func main() {
	layers, _ := os.ReadDir("/layers/sampan_go")
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(words.Hello))
		for _, layer := range layers {
			w.Write([]byte(" " + layer.Name()))
		}
	})
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
`,
  };
  const { output } = await bench.stage('vendored', files);
  assert.match(output, /Modules \(vendored\)/);
  assert.equal((await bench.ask('vendored')).body, 'vendored targets');
  const words = 'vendor/example.com/words/words.go';
  await bench.stage('vendored', { ...files, [words]: files[words].replace('vendored', 'replaced') });
  assert.equal((await bench.ask('vendored')).body, 'replaced targets', 'a change of the same size is seen');
  const mod = (line: string) => ({ 'main.go': 'package main\nfunc main() {}\n', 'go.mod': `module x\n\n${line}\n` });
  await refuses(
    bench,
    'go-refused',
    mod('go 1.99'),
    /go\.mod: go asks for Go "1\.99", which cannot be had; there are .*1\.27\.\d+, and older ones/,
  );
  await refuses(bench, 'go-refused', { 'main.go': 'package main\n' }, /run "go mod init"/);
  await refuses(
    bench,
    'vendored',
    { ...files, 'main.go': 'package main\nfunc main() { x }\n' },
    /undefined: x[\s\S]*the command above failed \(go build \.: 1\)/,
  );
  await refuses(bench, 'vendored', { ...files, 'main.go': 'package words\n' }, /no package is "main"/);
});

test('Go: a workspace of modules, with a C compiler where the app asks for one', async () => {
  const files = {
    'go.work': 'go 1.24\n\ntoolchain go1.27.4\n\nuse ./lib\nuse ./server\n',
    'lib/go.mod': 'module example.com/lib\n\ngo 1.24\n',
    'lib/lib.go':
      'package lib\n\n// #include <stdlib.h>\nimport "C"\n\nfunc Absolute(n int) int { return int(C.abs(C.int(n))) }\n',
    'server/go.mod': 'module example.com/server\n\ngo 1.24\n',
    'server/main.go': `package main

import (
	"fmt"
	"net/http"
	"os"

	"example.com/lib"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		_, err := os.Stat("/usr/bin/gcc")
		fmt.Fprint(w, lib.Absolute(-42), " ", err == nil)
	})
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
`,
  };
  // With the toolchain of the last test.
  const { exported } = await bench.stage('vendored', files, undefined, { CGO_ENABLED: '1' });
  assert.deepEqual(exported.processTypes, { web: 'exec server' });
  assert.equal((await bench.ask('vendored')).body, '42 false');
});
