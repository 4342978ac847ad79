/** What requests say of service instances besides their names. */
import type { ServiceInstance } from '../../resources/service-types.ts';
import { isObject, mergeMetadata, type Reader } from '../validate.ts';

const MAX_CREDENTIALS = 64 * 1024;
const MAX_PARAMETERS = 512 * 1024;
const LONGEST_TAGS = 2048;
const LONGEST_URL = 2000;

export function readTags(reader: Reader): string[] | undefined {
  const tags = reader.strings('tags');
  if (tags && tags.join('').length > LONGEST_TAGS) {
    reader.fail(`Tags combined length of tags must be ${LONGEST_TAGS} characters or less`);
  }
  return tags;
}

export function readContent(reader: Reader, current?: ServiceInstance['spec']) {
  const tags = readTags(reader);
  const credentials = reader.object('credentials')?.body;
  if (credentials && Buffer.byteLength(JSON.stringify(credentials)) > MAX_CREDENTIALS) {
    reader.fail(`Credentials must be at most ${MAX_CREDENTIALS / 1024} KiB`);
  }
  const parameters = readParameters(reader);
  const syslogDrainUrl = readUrl(reader, 'syslog_drain_url', ['syslog:', 'syslog-tls:', 'https:']);
  const routeServiceUrl = readRouteServiceUrl(reader);
  const metadata = reader.metadata();
  return {
    ...(tags === undefined ? {} : { tags }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(parameters === undefined ? {} : { parameters }),
    ...(syslogDrainUrl === undefined ? {} : { syslogDrainUrl }),
    ...(routeServiceUrl === undefined ? {} : { routeServiceUrl }),
    userMetadata: mergeMetadata(current?.userMetadata, metadata),
  };
}

/** Empty: there is none any more. */
function readRouteServiceUrl(reader: Reader): string | undefined {
  if (reader.body['route_service_url'] === undefined) return undefined;
  const value = reader.nullableString('route_service_url') ?? '';
  if (value === '') return '';
  const url = URL.parse(value);
  if (url?.protocol === 'https:' && url.hostname !== '' && value.length <= LONGEST_URL) return value;
  reader.fail(`Route service url must be ${url?.protocol === 'http:' ? 'https' : 'a valid URI'}`);
  return undefined;
}

/** Of a Secret's size. */
export function readParameters(reader: Reader): Record<string, unknown> | undefined {
  const value = reader.body['parameters'];
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) reader.fail('Parameters must be an object');
  else if (Buffer.byteLength(JSON.stringify(value)) > MAX_PARAMETERS) {
    reader.fail(`Parameters must be at most ${MAX_PARAMETERS / 1024} KiB`);
  } else return value;
  return undefined;
}

function readUrl(reader: Reader, field: string, protocols: string[]): string | undefined {
  const value = reader.nullableString(field) ?? '';
  if (value === '') return undefined;
  const url = URL.parse(value);
  if (url && protocols.includes(url.protocol)) return value;
  reader.fail(`${field.replaceAll('_', ' ')} must begin with one of ${protocols.map((one) => `${one}//`).join(', ')}`);
  return undefined;
}
