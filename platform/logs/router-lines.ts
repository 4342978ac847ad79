/** Requests as lines of the app's log, in the form that Cloud Foundry's router gives them (`[RTR/0]` in `cf logs`). */
import type { AccessRecord, Router } from '../router/model.ts';
import type { Logs } from './logs.ts';
import { fromMilliseconds, toRfc3339 } from '../time.ts';

/** Starts forwarding; the function returned ends it. */
export function forwardRequests(
  router: Pick<Router, 'onAccess'>,
  logs: Pick<Logs, 'emit'>,
  applicationOf: (record: AccessRecord) => string | undefined,
): () => void {
  return router.onAccess((record) => {
    const sourceId = applicationOf(record);
    if (sourceId === undefined) return;
    logs.emit({ sourceId, sourceType: 'RTR', message: routerLine(record, sourceId), at: record.at + record.total });
  });
}

export function routerLine(record: AccessRecord, application: string): string {
  const time = toRfc3339(fromMilliseconds(record.at));
  const forwarded = [record.forwardedFor, record.clientIp].filter((part) => part !== '').join(', ');
  const total = Math.max(0, record.total);
  // What the app did not take is the router's: waiting for the client and for a server.
  const own = record.response < 0 ? total : Math.max(0, record.queued);
  return [
    `${record.host || '-'} - [${time}]`,
    quoted(`${record.method} ${record.path} ${record.protocol}`),
    record.status,
    record.bytesIn,
    record.bytesOut,
    quoted(record.referer),
    quoted(record.userAgent),
    quoted(record.client),
    quoted(record.address),
    `x_forwarded_for:${quoted(forwarded)}`,
    `vcap_request_id:${quoted(record.requestId)}`,
    `response_time:${seconds(total)}`,
    `gorouter_time:${seconds(own)}`,
    `app_id:${quoted(application)}`,
    `app_index:${quoted(record.instance === undefined ? '' : String(record.instance))}`,
    `instance_id:${quoted(record.endpoint)}`,
  ].join(' ');
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(6);
}

/** A client wrote some of these: quotes, backslashes and control characters are escaped, so that a line stays one line. */
function quoted(text: string): string {
  return text === '' ? '"-"' : JSON.stringify(text);
}
