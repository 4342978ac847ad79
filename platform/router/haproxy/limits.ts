/**
 * How the proxy's connections are shared out, so that who takes too many is told so, and others still come through. All numbers are of
 * clients' connections; `total` is what the limit of open files allows.
 */
export interface Limits {
  /** Of HTTP and of TCP routes: beyond it nobody is even listened to. */
  http: number;
  tcp: number;
  /** Above it a new client is answered 503: the rest is for such answers. */
  accepted: number;
  /** One app's: the others always find some. */
  app: number;
  /** One address's: beyond it connections are cut unheard. Above an app's, so that who floods one app is told. */
  address: number;
}

/** Share of all connections that TCP routes may have, where there are any. */
const TCP_SHARE = 0.1;
const APP_SHARE = 0.95;
const MOST_REFUSALS = 250;

export function shareOut(total: number, tcpPorts: number): Limits {
  const tcp = tcpPorts === 0 ? 0 : Math.ceil(total * TCP_SHARE);
  const http = total - tcp;
  const refusals = Math.min(MOST_REFUSALS, Math.ceil(http * 0.1));
  const accepted = http - refusals;
  const app = Math.floor(accepted * APP_SHARE);
  return { http, tcp, accepted, app, address: app + Math.ceil((accepted - app) / 2) };
}
