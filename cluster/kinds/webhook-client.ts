/** Where a webhook is: what its configuration must be. */
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { dnsSubdomainProblems } from './names.ts';
import type { WebhookClientConfig } from './types/admissionregistration.ts';

export function clientProblems({ url, service, caBundle }: WebhookClientConfig, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if ((url === undefined) === (service === undefined))
    errors.push(required(at, 'exactly one of url or service is required'));
  if (url !== undefined) errors.push(...urlProblems(url, `${at}.url`));
  if (service !== undefined) {
    if (!service.name) errors.push(required(`${at}.service.name`, 'service name is required'));
    if (!service.namespace) errors.push(required(`${at}.service.namespace`, 'service namespace is required'));
    const { port = 443, path } = service;
    if (port < 1 || port > 65_535)
      errors.push(invalid(`${at}.service.port`, port, 'port is not valid: must be between 1 and 65535, inclusive'));
    if (path) errors.push(...pathProblems(path, `${at}.service.path`));
  }
  if (caBundle !== undefined && !Buffer.from(caBundle, 'base64').includes('-----BEGIN CERTIFICATE-----'))
    errors.push(
      invalid(`${at}.caBundle`, caBundle, 'unable to load root certificates: unable to parse bytes as PEM block'),
    );
  return errors;
}

function pathProblems(path: string, at: string): FieldError[] {
  if (path === '/') return [];
  if (!path.startsWith('/')) return [invalid(at, path, "must start with a '/'")];
  const segments = path.slice(1).replace(/\/$/, '').split('/');
  return segments.flatMap((segment, index) => {
    if (segment === '') return [invalid(at, path, `segment[${index}] may not be empty`)];
    return dnsSubdomainProblems(segment).map((problem) => invalid(at, path, `segment[${index}]: ${problem}`));
  });
}

function urlProblems(text: string, at: string): FieldError[] {
  const form = '; desired format: https://host[/path]';
  if (!URL.canParse(text)) return [required(at, `url must be a valid URL${form}`)];
  const url = new URL(text);
  const errors: FieldError[] = [];
  if (url.protocol !== 'https:')
    errors.push(invalid(at, url.protocol.slice(0, -1), `'https' is the only allowed URL scheme${form}`));
  if (url.hostname === '') errors.push(invalid(at, url.host, `host must be specified${form}`));
  if (url.username !== '') errors.push(forbidden(at, 'user information is not permitted in the URL'));
  if (url.hash !== '') errors.push(invalid(at, url.hash, 'fragments are not permitted in the URL'));
  if (url.search !== '') errors.push(invalid(at, url.search, 'query parameters are not permitted in the URL'));
  return errors;
}
