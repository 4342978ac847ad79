/** nginx's configuration for a static site. */
import { nginxConfiguration } from '../../../lifecycle/nginx.ts';
import type { StaticSite } from './staticfile.ts';

export function siteConfiguration(site: StaticSite, workspace: string, mimeTypes: string): string {
  const security = {
    off: undefined,
    on: 'max-age=31536000',
    'with-subdomains': 'max-age=31536000; includeSubDomains',
    preload: 'max-age=31536000; includeSubDomains; preload',
  }[site.strictTransportSecurity];
  return nginxConfiguration({
    mimeTypes,
    http: [
      'charset utf-8;',
      'charset_types text/css text/plain text/xml application/javascript text/javascript application/json image/svg+xml;',
      'tcp_nopush on;',
      'gzip on;',
      'gzip_vary on;',
      'gzip_proxied any;',
      'gzip_min_length 1024;',
      'gzip_types text/plain text/css text/xml text/javascript application/javascript application/json application/xml image/svg+xml application/wasm application/manifest+json;',
      'map $http_x_forwarded_proto $insecure { default 0; http 1; }',
    ],
    server: [
      `root ${site.root === '' ? workspace : `${workspace}/${site.root}`};`,
      'index index.html index.htm Default.htm;',
      ...(site.directoryListing ? ['autoindex on;'] : []),
      ...(site.serverSideIncludes ? ['ssi on;'] : []),
      'add_header X-Content-Type-Options nosniff always;',
      ...(security === undefined ? [] : [`add_header Strict-Transport-Security "${security}" always;`]),
      ...(site.forceHttps ? ['if ($insecure) { return 301 https://$host$request_uri; }'] : []),
      ...[...site.statusPages].map(([status, page]) => `error_page ${status} ${page};`),
      ...(site.dotFiles ? [] : ['location ~ (^|/)\\. { return 404; }']),
      ...(site.root === '' ? ['location ~ ^/(Staticfile|Procfile|manifest\\.ya?ml)$ { return 404; }'] : []),
      `location / { try_files $uri $uri/ ${site.pushState ? '/index.html' : '=404'}; }`,
    ],
  });
}
