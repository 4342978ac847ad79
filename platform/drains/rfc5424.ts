/** A line as a message of RFC 5424, with the fields as Cloud Foundry fills them. */
import type { LogEnvelope } from '../logs/logs.ts';
import type { AppNames } from '../metrics/app-names.ts';
import { toRfc3339 } from '../time.ts';

/** Facility user (1), severities informational (6) and error (3). */
const PRIORITIES = { OUT: 14, ERR: 11 } as const;
/** The enterprise number of the Cloud Foundry Foundation. */
const TAGS = 'tags@47450';

export function rfc5424(envelope: LogEnvelope, names: AppNames | undefined): Buffer {
  const { sourceId, instanceId, sourceType, type } = envelope;
  const tags: Record<string, string> = {
    app_id: sourceId,
    ...(names && {
      app_name: names.appName,
      organization_id: names.organization,
      organization_name: names.organizationName,
      space_id: names.space,
      space_name: names.spaceName,
    }),
    instance_id: instanceId,
    source_type: sourceType,
  };
  const head = [
    `<${PRIORITIES[type]}>1`,
    timeOf(envelope.timestamp),
    hostname(names),
    sourceId.slice(0, 48) || '-',
    `[${sourceType
      .toUpperCase()
      .replaceAll(/[^!-~]/g, '-')
      .slice(0, 100)}/${instanceId}]`,
    '-',
    `[${TAGS} ${Object.entries(tags)
      .map(([name, value]) => `${name}="${value.replaceAll(/["\\\]]/g, '\\$&')}"`)
      .join(' ')}]`,
  ];
  return Buffer.concat([Buffer.from(`${head.join(' ')} `), withoutNulls(envelope.payload), Buffer.from('\n')]);
}

/** Microseconds are the most that the format has. */
function timeOf(timestamp: string): string {
  return `${toRfc3339(timestamp).slice(0, 26)}+00:00`;
}

function hostname(names: AppNames | undefined): string {
  if (names === undefined) return '-';
  const part = (name: string): string =>
    name
      .replaceAll(/\s+/g, '-')
      .replaceAll(/[^-a-zA-Z0-9]+/g, '')
      .replace(/-+$/, '')
      .slice(0, 63);
  return [names.organizationName, names.spaceName, names.appName].map(part).join('.');
}

function withoutNulls(payload: Buffer): Buffer {
  return payload.includes(0) ? (payload.filter((byte) => byte !== 0) as Buffer) : payload;
}
