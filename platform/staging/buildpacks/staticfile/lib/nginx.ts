/** nginx's configuration for a static site. `@PORT@` is replaced when an instance starts. */
import type { StaticSite } from './staticfile.ts';

export function nginxConfiguration(site: StaticSite, workspace: string, mimeTypes: string): string {
  const fallback = site.pushState ? '/index.html' : '=404';
  const security = {
    off: undefined,
    on: 'max-age=31536000',
    'with-subdomains': 'max-age=31536000; includeSubDomains',
    preload: 'max-age=31536000; includeSubDomains; preload',
  }[site.strictTransportSecurity];
  const lines = [
    'daemon off;',
    'worker_processes 1;',
    'pid /tmp/nginx.pid;',
    'error_log stderr warn;',
    'events { worker_connections 1024; }',
    'http {',
    `  include ${mimeTypes};`,
    '  default_type application/octet-stream;',
    '  charset utf-8;',
    '  charset_types text/css text/plain text/xml application/javascript text/javascript application/json image/svg+xml;',
    ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path /tmp/nginx-${name};`),
    '  # The router logs each request.',
    '  access_log off;',
    '  sendfile on;',
    '  tcp_nopush on;',
    '  keepalive_timeout 75s;',
    '  server_tokens off;',
    '  absolute_redirect off;',
    '  gzip on;',
    '  gzip_vary on;',
    '  gzip_proxied any;',
    '  gzip_min_length 1024;',
    '  gzip_types text/plain text/css text/xml text/javascript application/javascript application/json application/xml image/svg+xml application/wasm application/manifest+json;',
    '  map $http_x_forwarded_proto $insecure { default 0; http 1; }',
    '  server {',
    '    listen @PORT@ default_server;',
    `    root ${site.root === '' ? workspace : `${workspace}/${site.root}`};`,
    '    index index.html index.htm Default.htm;',
    ...(site.directoryListing ? ['    autoindex on;'] : []),
    ...(site.serverSideIncludes ? ['    ssi on;'] : []),
    '    add_header X-Content-Type-Options nosniff always;',
    ...(security === undefined ? [] : [`    add_header Strict-Transport-Security "${security}" always;`]),
    ...(site.forceHttps ? ['    if ($insecure) { return 301 https://$host$request_uri; }'] : []),
    ...[...site.statusPages].map(([status, page]) => `    error_page ${status} ${page};`),
    ...(site.dotFiles ? [] : ['    location ~ (^|/)\\. { return 404; }']),
    ...(site.root === '' ? ['    location ~ ^/(Staticfile|Procfile|manifest\\.ya?ml)$ { return 404; }'] : []),
    '    location / {',
    `      try_files $uri $uri/ ${fallback};`,
    '    }',
    '  }',
    '}',
  ];
  return `${lines.join('\n')}\n`;
}
