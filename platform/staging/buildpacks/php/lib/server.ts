/** nginx before PHP-FPM: their configurations, and the script that starts both. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fillPort, nginxConfiguration } from '../../../lifecycle/nginx.ts';
import { AppError } from '../../../lifecycle/words.ts';

const SOCKET = '/tmp/php-fpm.sock';

/**
 * `BP_PHP_WEB_DIR`, else where frameworks have their pages; empty: the source itself.
 * @throws AppError for what is no directory of the source
 */
export function webDirectory(environment: NodeJS.ProcessEnv, directory = '.'): string {
  const variable = environment['BP_PHP_WEB_DIR'];
  const named = variable?.replace(/^(\.?\/+)+|\/+$/g, '');
  if (named === undefined || named === '' || named === '.')
    return ['public', 'web', 'htdocs'].find((name) => existsSync(join(directory, name, 'index.php'))) ?? '';
  // It becomes part of a line of configuration.
  const plain = /^[\w@+.-]+(\/[\w@+.-]+)*$/.test(named) && !named.split('/').includes('..');
  if (plain && existsSync(join(directory, named))) return named;
  throw new AppError(`BP_PHP_WEB_DIR: ${JSON.stringify(variable)} is no directory of the source`);
}

/** @param whole  the pages are beside what is none */
export function pagesConfiguration(root: string, whole: boolean): string {
  return nginxConfiguration({
    mimeTypes: '/etc/nginx/mime.types',
    http: [
      '# PHP limits uploads and times.',
      'client_max_body_size 0;',
      'map $http_x_forwarded_proto $secure { default ""; https on; }',
    ],
    server: [
      `root ${root};`,
      'index index.php index.html;',
      'location ~ (^|/)\\.(?!well-known/) { return 404; }',
      ...(whole ? ['location ~ ^/(vendor/|composer\\.(json|lock)$|Procfile$|manifest\\.ya?ml$) { return 404; }'] : []),
      'location / { try_files $uri $uri/ /index.php$is_args$args; }',
      'location ~ \\.php$ {',
      '  try_files $uri =404;',
      '  include /etc/nginx/fastcgi_params;',
      '  fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;',
      '  fastcgi_param HTTPS $secure if_not_empty;',
      '  fastcgi_read_timeout 15m;',
      `  fastcgi_pass unix:${SOCKET};`,
      '}',
    ],
  });
}

/**
 * Workers begin when they are asked: an app that is idle needs little memory. What they say goes to standard error
 * (`--force-stderr`), which no open file can stand for in every container.
 */
export function fpmConfiguration(): string {
  return `[global]
error_log = /dev/null
daemonize = no
[www]
listen = ${SOCKET}
listen.mode = 0600
pm = ondemand
pm.max_children = \${PHP_FPM_MAX_CHILDREN}
pm.process_idle_timeout = 60s
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
`;
}

/** @param layer  has the configurations. Either one that ends takes the other with it; a request that runs is answered first. */
export function startScript(layer: string, version: string): string {
  return `#!/bin/bash
${fillPort(`${layer}/nginx.conf`)}
if [ -z "\${PHP_FPM_MAX_CHILDREN:-}" ]; then
  limit=\${MEMORY_LIMIT:-512m}
  case $limit in *[gG]) megabytes=$((\${limit%?} * 1024)) ;; *) megabytes=\${limit%[mM]} ;; esac
  # Of 48 MB each, beside 32 for the rest; the smallest app has two.
  export PHP_FPM_MAX_CHILDREN=$(((megabytes - 32) / 48 > 2 ? (megabytes - 32) / 48 : 2))
fi
php-fpm${version} --nodaemonize --force-stderr --fpm-config ${layer}/fpm.conf &
php=$!
# Who asks before it hears would be told that the app is broken.
while [ ! -S ${SOCKET} ] && kill -0 $php 2>/dev/null; do sleep 0.02; done
nginx -c /tmp/nginx.conf -e stderr &
web=$!
trap 'kill -QUIT $web' TERM INT
wait -n $php $web
status=$?
kill -QUIT $web 2>/dev/null
wait $web
kill -QUIT $php 2>/dev/null
wait $php
exit $status
`;
}
