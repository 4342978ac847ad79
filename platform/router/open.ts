/**
 * Opens the router: adopts the HAProxy that this instance runs, or starts one. An adopted proxy is not restarted; it is
 * reloaded gracefully when the options (or our configuration's template) have changed.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { openAccessLog } from './haproxy/access-log.ts';
import {
  certificateDiffers,
  certificateFile,
  checkCertificate,
  installCertificate,
  storeCertificate,
} from './haproxy/certificates.ts';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { freePort } from '#lib/ports.ts';
import { type AccessTarget, type ConfigInput, type Files, filesOf } from './haproxy/config.ts';
import { HaproxyDriver } from './haproxy/driver.ts';
import { freePorts } from './ports.ts';
import { maxConnections, openFilesLimit, readEnvironment, workerUser } from './haproxy/process.ts';
import { Proxy } from './haproxy/proxy.ts';
import { CommandSocket } from './haproxy/socket.ts';
import { endProxy } from './haproxy/stop.ts';
import { type Router, RouterError, type RouterOptions } from './model.ts';
import { checkRoute, isInteger } from './validate.ts';

interface Ports {
  http: number;
  https: number;
}

/** Unix socket paths are at most 107 bytes, and HAProxy needs some of them for a temporary name. */
const MAX_RUN_DIRECTORY = 70;

export async function openRouter(options: RouterOptions): Promise<Router> {
  checkOptions(options);
  await mkdir(options.dataDirectory, { recursive: true, mode: 0o700 });
  await mkdir(options.runDirectory, { recursive: true, mode: 0o711 });
  const proxy = new Proxy(filesOf(options), options);
  const saved = await proxy.prepare();
  const running = await readEnvironment(proxy.files).catch(() => undefined);
  const before = running ?? saved;
  const access = await openAccessLog(before?.access, options.log);
  try {
    const pem = checkCertificate('default', options.certificate);
    const path = certificateFile(proxy.files, 'default');
    const renewed = await certificateDiffers(path, pem);
    if (renewed) await storeCertificate(path, pem);
    const { clients } = options.tls ?? {};
    if (clients) await writeFileAtomic(proxy.files.clientAuthorities, clients.authorities, { mode: 0o600 });
    const { serviceTls } = options;
    if (serviceTls) await writeFileAtomic(proxy.files.serviceAuthorities, serviceTls.authorities, { mode: 0o600 });
    const ports = await choosePorts(options, before);
    const tcp = await freePorts(options.listen.tcp ?? [], new Set(running?.tcp));
    const { adopted } = await proxy.open(
      await configInput(options, proxy.files, { ...ports, tcp }, access.target),
      saved,
    );
    if (adopted && renewed && proxy.reloads === 0) {
      await using socket = await CommandSocket.open(proxy.files.commandSocket);
      await installCertificate(socket, proxy.files, path, pem);
    }
    options.log('info', adopted ? 'HAProxy runs already: adopted' : 'HAProxy started', { pid: proxy.pid, ...ports });
    return new HaproxyDriver(options, proxy, access);
  } catch (error) {
    await access.close();
    throw error;
  }
}

/** Stops the HAProxy of an instance whose router is not open here (`sampan down`). Idempotent. */
export async function stopProxy(
  options: Pick<RouterOptions, 'instance' | 'dataDirectory' | 'runDirectory' | 'drainSeconds'>,
): Promise<void> {
  await endProxy(options.instance, filesOf(options), options.drainSeconds ?? 10);
}

function checkOptions(options: RouterOptions): void {
  const refuse = (what: string, value: unknown, expected: string): never => {
    throw new RouterError(
      'invalid',
      `Cannot open the router: ${what} is ${JSON.stringify(value)}, expected ${expected}`,
    );
  };
  if (!/^[a-z0-9-]{1,40}$/.test(options.instance)) refuse('"instance"', options.instance, '1 to 40 of a-z, 0-9, "-"');
  for (const name of ['dataDirectory', 'runDirectory'] as const) {
    if (!/^\/[A-Za-z0-9._/-]+$/.test(options[name])) {
      refuse(`"${name}"`, options[name], 'an absolute path of letters, digits, ".", "_", "-" and "/"');
    }
  }
  if (options.runDirectory.length > MAX_RUN_DIRECTORY) {
    refuse('"runDirectory"', options.runDirectory, `at most ${MAX_RUN_DIRECTORY} characters (it holds sockets)`);
  }
  const { http, https, address } = options.listen;
  if (!isInteger(http, 0, 65535)) refuse('"listen.http"', http, 'a port, or 0 for a free one');
  if (!isInteger(https, 0, 65535)) refuse('"listen.https"', https, 'a port, or 0 for a free one');
  for (const port of options.listen.tcp ?? []) {
    if (!isInteger(port, 1, 65535)) refuse('"listen.tcp"', port, 'ports of 1 to 65535');
  }
  if (address !== undefined && isIP(address) === 0) refuse('"listen.address"', address, 'an IP address');
  for (const system of options.system) {
    checkRoute({ host: system.host, path: '/', backend: 'system', id: 'system' });
    if (isIP(system.address) === 0) refuse(`address of ${system.host}`, system.address, 'an IP address');
    if (!isInteger(system.port, 1, 65535)) refuse(`port of ${system.host}`, system.port, '1 to 65535');
  }
}

/** A port of 0 stays what it was before: of the proxy that runs, else of the one that ran. */
async function choosePorts(options: RouterOptions, before: Ports | undefined): Promise<Ports> {
  const { http, https } = options.listen;
  if (http !== 0 && https !== 0) return { http, https };
  return {
    http: http || before?.http || (await freePort()),
    https: https || before?.https || (await freePort()),
  };
}

async function configInput(
  options: RouterOptions,
  files: Files,
  ports: Ports & { tcp: number[] },
  access: AccessTarget,
): Promise<ConfigInput> {
  const listening = await addresses(options.listen.address);
  const openFiles = options.openFiles ?? (await openFilesLimit());
  return {
    files,
    ...ports,
    addresses: listening,
    tls: options.tls ?? { minimum: '1.2', forwarded: 'sanitize_set' },
    ...(options.serviceTls && { serviceTls: options.serviceTls }),
    system: options.system,
    maxConnections: maxConnections(openFiles, (ports.tcp.length + 2) * listening.length),
    user: await workerUser(),
    access,
  };
}

async function addresses(address: string | undefined): Promise<string[]> {
  if (address !== undefined) return [isIP(address) === 6 ? `[${address}]` : address];
  const ipv6 = await readFile('/proc/net/if_inet6', 'utf8').catch(() => '');
  return ipv6.trim() === '' ? ['*'] : ['*', '[::]'];
}
