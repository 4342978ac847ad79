/** How a web app is started that does not say it: by the server among its dependencies and the object that it serves. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where people put it, in the order of preference. */
const MODULES = ['app', 'main', 'wsgi', 'asgi', 'server', 'application'];

/** Frameworks by their protocol. */
const ASGI = 'FastAPI|Starlette|Quart|Litestar|Sanic|Robyn';
const WSGI = 'Flask|Bottle|Falcon';

/** @param tools  programs that the dependencies bring */
export function startCommand(tools: ReadonlySet<string>, directory = '.'): string | undefined {
  const django = existsSync(join(directory, 'manage.py')) ? djangoModule(directory) : undefined;
  if (django !== undefined && tools.has('gunicorn')) return gunicorn(`${django}.wsgi`);
  if (django !== undefined && tools.has('uvicorn')) return uvicorn(`${django}.asgi:application`);
  for (const module of MODULES) {
    const path = join(directory, `${module}.py`);
    if (!existsSync(path)) continue;
    const text = readFileSync(path, 'utf8');
    const [, name, framework] =
      new RegExp(`^(\\w+)(?:\\s*:\\s*\\S+)?\\s*=\\s*(?:\\w+\\.)?(${ASGI}|${WSGI})\\(`, 'm').exec(text) ?? [];
    const served = name ?? /^(application|app)\s*=/m.exec(text)?.[1] ?? /^def (create_app)\(\s*\)/m.exec(text)?.[1];
    if (served === undefined) continue;
    const asynchronous = framework === undefined ? !tools.has('gunicorn') : ASGI.split('|').includes(framework);
    const target = `${module}:${served}`;
    if (asynchronous && tools.has('uvicorn')) return uvicorn(target) + (served === 'create_app' ? ' --factory' : '');
    if (!asynchronous && tools.has('gunicorn')) return gunicorn(served === 'create_app' ? `'${target}()'` : target);
  }
  const program = ['app.py', 'main.py', 'server.py'].find((name) => existsSync(join(directory, name)));
  return program === undefined ? undefined : `python ${program}`;
}

function gunicorn(target: string): string {
  return `gunicorn --bind 0.0.0.0:$PORT ${target}`;
}

function uvicorn(target: string): string {
  return `uvicorn --host 0.0.0.0 --port $PORT ${target}`;
}

/** The package that `manage.py` names as its settings', else one with a wsgi.py. */
function djangoModule(directory: string): string | undefined {
  const text = readFileSync(join(directory, 'manage.py'), 'utf8');
  const named = /DJANGO_SETTINGS_MODULE['"]\s*,\s*['"]([\w.]+?)\.settings/.exec(text)?.[1];
  if (named !== undefined && existsSync(join(directory, named.replaceAll('.', '/'), 'wsgi.py'))) return named;
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, 'wsgi.py')))
    .map(({ name }) => name)
    .sort()[0];
}
