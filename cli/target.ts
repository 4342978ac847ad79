/** Which platform the app commands speak to, and how they get there. */
export interface Target {
  /** The Cloud Foundry API, `https://api.DOMAIN[:port]`. */
  api: string;
  /** Names below this domain are dialled at `address` and not looked up: our own machine needs no DNS. */
  dial?: { domain: string; address: string };
  /** PEM; trusted besides the system's authorities, and alone where the target is dialled without DNS. */
  ca?: string;
  /** Used where nobody has logged in: the administrator of the local instance. */
  login?: () => { username: string; password: string };
}

/** Where a host of the target is dialled: its own name where nothing else is said. */
export function addressOf({ dial }: Target, host: string): string {
  return dial !== undefined && (host === dial.domain || host.endsWith(`.${dial.domain}`)) ? dial.address : host;
}
