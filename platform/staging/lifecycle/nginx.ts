/**
 * nginx as apps start it: in the foreground, as the app's user, with files below /tmp, behind the router. Its port is known when
 * an instance starts: `@PORT@` stands for it in the configuration.
 */
export interface WebServer {
  /** Path. */
  mimeTypes: string;
  /** Directives of `http`. */
  http: readonly string[];
  /** Directives of the only `server`. */
  server: readonly string[];
}

export function nginxConfiguration({ mimeTypes, http, server }: WebServer): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const lines = [
    'daemon off;',
    'worker_processes 1;',
    'pid /tmp/nginx.pid;',
    'error_log stderr warn;',
    'events { worker_connections 1024; }',
    'http {',
    `  include ${mimeTypes};`,
    '  default_type application/octet-stream;',
    ...temporary.map((name) => `  ${name}_temp_path /tmp/nginx-${name};`),
    '  # The router logs each request.',
    '  access_log off;',
    '  sendfile on;',
    '  keepalive_timeout 75s;',
    '  server_tokens off;',
    '  absolute_redirect off;',
    ...http.map((line) => `  ${line}`),
    '  server {',
    '    listen @PORT@ default_server;',
    ...server.map((line) => `    ${line}`),
    '  }',
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

/** A line of a shell script: puts the port into the configuration at `path`, as `/tmp/nginx.conf`. */
export function fillPort(path: string): string {
  return `sed "s/@PORT@/\${PORT:-8080}/" ${path} >/tmp/nginx.conf || exit`;
}
