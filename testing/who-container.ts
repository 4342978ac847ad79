import type { Container } from '#cluster/kinds/types/core.ts';

/** A web server on port 8080 (`web`) that says at `/cgi-bin/who` who it is and who asks. */
export function whoContainer(image: string, more: Partial<Container> = {}): Container {
  return {
    name: 'main',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', whoServer],
    ports: [{ name: 'web', containerPort: 8080 }],
    readinessProbe: { httpGet: { path: '/cgi-bin/who', port: 8080 } },
    ...more,
  };
}

export const whoServer = `
  mkdir -p /tmp/www/cgi-bin
  printf '#!/bin/sh\\necho; echo "$(hostname) $REMOTE_ADDR"\\n' > /tmp/www/cgi-bin/who
  chmod +x /tmp/www/cgi-bin/who
  exec httpd -f -p 8080 -h /tmp/www`;
