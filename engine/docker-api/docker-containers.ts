/**
 * The containers that were made through the Docker API: each with a sandbox of its own, which no client sees. Restart
 * policies, `--rm` and published ports are kept here, by the engine's events.
 *
 * Crash-only: what a container was asked to be is a label of it; whether somebody stopped it is a small file. After a
 * restart of the engine a sandbox that has no container is removed, and policies are applied to what has ended meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TurnsByKey } from '#lib/turns.ts';
import { refuseContainerRisks } from '../containers/risks.ts';
import { type Container, EngineError, type PublishedPort, type Sandbox } from '../engine.ts';
import type { DockerEngine } from './call.ts';
import type { CreateRequest } from './create-request.ts';
import { DockerError } from './errors.ts';
import { Happenings } from './happenings.ts';
import { HealthChecks } from './health.ts';
import { DockerNetworks, type Endpoint, type Identity, splitLink } from './networks.ts';
import { mountSources } from './mount-sources.ts';
import { randomName } from './names.ts';
import { Restarts } from './restarts.ts';
import { SANDBOX_LABEL, SETTINGS_LABEL, type Settings, settingsOf } from './settings.ts';
import { Volumes } from './volumes.ts';

const CONTAINER_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,253}$/;
const DEFAULT_STOP_SECONDS = 10;

export interface RemoveOptions {
  force?: boolean;
  volumes?: boolean;
}

export class DockerContainers {
  readonly happenings = new Happenings();
  readonly volumes: Volumes;
  readonly health: HealthChecks;
  readonly networks: DockerNetworks;
  readonly #engine: DockerEngine;
  readonly #onError: (error: unknown) => void;
  readonly #restarts: Restarts;
  readonly #stoppedDirectory: string;
  readonly #closing = new AbortController();
  readonly #names = new Map<string, string>();
  /** Volumes of containers that are being made, by the container's id. */
  readonly #making = new Map<string, { name: string }[]>();
  /** Starting, and what an end asks for, one after the other. */
  readonly #turns = new TurnsByKey();
  readonly #removing = new Map<string, Promise<void>>();
  #following: Promise<void> = Promise.resolve();

  constructor(engine: DockerEngine, onError: (error: unknown) => void) {
    this.#engine = engine;
    this.#onError = onError;
    const directory = join(engine.info().dataDirectory, 'engine', 'docker');
    this.#stoppedDirectory = join(directory, 'stopped');
    mkdirSync(this.#stoppedDirectory, { recursive: true, mode: 0o700 });
    this.volumes = new Volumes(join(engine.info().dataDirectory, 'engine', 'volumes'));
    this.health = new HealthChecks(engine, {
      happenings: this.happenings,
      directory: join(directory, 'health'),
      onError,
    });
    this.networks = new DockerNetworks(engine, directory);
    this.#restarts = new Restarts(join(directory, 'restarts'), (id) => this.#startAgain(id));
  }

  /** Call once: takes over what an earlier engine left. */
  async open(): Promise<void> {
    const events = this.#engine.events({ signal: this.#closing.signal });
    const own = new Set(this.own().map(({ sandbox }) => sandbox));
    for (const sandbox of this.#engine.sandboxes()) {
      if (sandbox.labels[SANDBOX_LABEL] !== undefined && !own.has(sandbox.id))
        await this.#engine.removeSandbox(sandbox.id);
    }
    const ids = new Set(this.own().map(({ id }) => id));
    for (const id of readdirSync(this.#stoppedDirectory)) if (!ids.has(id)) rmSync(join(this.#stoppedDirectory, id));
    this.#restarts.keepOnly(ids);
    await this.volumes.open(new Set(this.own().flatMap((one) => volumeNames(one))));
    await this.health.open(this.own());
    await this.networks.open(this.own().map((container) => ({ container, identity: identityOf(container) })));
    this.#following = this.#follow(events);
    for (const container of this.own()) {
      // Its ports are published before it starts: the engine may have been killed between the two.
      const settings = settingsOf(container);
      if (container.state === 'created' && settings !== undefined) await this.#unpublish(container, settings);
      if (container.state === 'exited') await this.#ended(container, true);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#restarts.close();
    await this.health.close();
    await this.#following;
  }

  own(): Container[] {
    return this.#engine.containers().filter((container) => settingsOf(container) !== undefined);
  }

  isRestarting(id: string): boolean {
    return this.#restarts.isWaiting(id);
  }

  /** Where its policy is none any more. */
  cancelRestart(id: string): void {
    this.#restarts.cancel(id);
  }

  restartCount(id: string): number {
    return this.#restarts.count(id);
  }

  /** Whose name it is; the empty string while the container is being made. */
  nameTaken(name: string): string | undefined {
    return this.#names.get(name) ?? this.own().find((container) => container.name === name)?.id;
  }

  async create(request: (id: string) => CreateRequest, wantedName: string): Promise<Container> {
    const name = wantedName || randomName((one) => this.nameTaken(one) !== undefined);
    checkName(name);
    const id = randomBytes(32).toString('hex');
    return await this.withName(name, id, async () => await this.#create(id, name, request(id)));
  }

  /** Holds a name for a container while `work` gives it. @throws DockerError 409 where another has it */
  async withName<T>(name: string, id: string, work: () => Promise<T>): Promise<T> {
    const holder = this.nameTaken(name);
    if (holder !== undefined) {
      throw new DockerError(
        409,
        `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    }
    this.#names.set(name, id);
    try {
      return await work();
    } finally {
      this.#names.delete(name);
    }
  }

  async #create(id: string, name: string, wish: CreateRequest): Promise<Container> {
    const { settings } = wish;
    const joined = wish.networks.join === undefined ? undefined : this.#joined(wish.networks.join);
    const hasOwnIds =
      joined === undefined
        ? wish.sandbox.userNamespace !== 'host'
        : this.#engine.sandbox(joined.sandbox)?.userNamespacePath !== undefined;
    // Before anything is made, so that the refusal names what was asked for.
    refuseContainerRisks(wish.spec, hasOwnIds, this.#engine.info());
    const held: { name: string; anonymous: boolean }[] = [];
    this.#making.set(id, held);
    const endpoints = this.networks.plan(wish.networks);
    if (joined !== undefined) settings.networkMode = `container:${joined.id}`;
    let sandbox: string | undefined;
    try {
      const { mounts, volumes } = await mountSources(wish.mounts, {
        volumes: this.volumes,
        allowedBinds: this.#engine.info().allowedBinds,
        hold: (volume, anonymous) => held.push({ name: volume, anonymous }),
      });
      settings.volumes.push(...volumes);
      if (!isPlain(wish.networks, endpoints)) this.networks.write(id, endpoints);
      if (joined === undefined) {
        sandbox = (await this.#makeSandbox({ id, name, hostname: settings.hostname }, wish)).id;
      }
      return await this.#engine.createContainer({
        ...wish.spec,
        id,
        sandbox: sandbox ?? joined?.sandbox ?? '',
        name,
        image: wish.image,
        mounts,
        labels: { ...wish.labels, [SETTINGS_LABEL]: JSON.stringify(settings) },
      });
    } catch (error) {
      if (sandbox !== undefined) await this.#engine.removeSandbox(sandbox);
      this.networks.forget(id);
      for (const volume of held) if (volume.anonymous) await this.volumes.remove(volume.name);
      throw error;
    } finally {
      this.#making.delete(id);
    }
  }

  /** In the networks that are written down for the container. */
  async #makeSandbox(
    identity: Identity,
    { settings, networks, hostAliases, sandbox }: CreateRequest,
  ): Promise<Sandbox> {
    const endpoints = this.networks.endpointsOf(identity.id);
    const plain = isPlain(networks, endpoints);
    const made = await this.#engine.createSandbox({
      name: `docker/${identity.id}`,
      hostname: settings.hostname,
      labels: { [SANDBOX_LABEL]: identity.id },
      durable: true,
      hostAliases: [...hostAliases, ...networks.links.map((link) => this.#linkAlias(link))],
      dns: {
        ...(settings.dns.length > 0 ? { servers: settings.dns } : {}),
        ...(settings.dnsSearch.length > 0 ? { searches: settings.dnsSearch } : {}),
        ...(settings.dnsOptions.length > 0 ? { options: settings.dnsOptions } : {}),
      },
      ...sandbox,
      ...(plain || sandbox.network === 'host' ? {} : { networks: this.networks.wishes(endpoints, identity) }),
      ...(networks.mac === undefined ? {} : { mac: networks.mac }),
    });
    if (!plain) this.networks.remember(identity.id, made);
    return made;
  }

  /** `--link` on the network that has no names: a line of /etc/hosts. */
  #linkAlias(link: string): { ip: string; names: string[] } {
    const { target, alias } = splitLink(link);
    const other = this.#named(target);
    const ip = other === undefined ? undefined : this.#engine.sandbox(other.sandbox)?.ip;
    if (other === undefined || ip === undefined)
      throw new DockerError(400, `could not get container for ${target}: No such container: ${target}`);
    return { ip, names: [...new Set([alias, other.id.slice(0, 12), other.name])] };
  }

  #named(text: string): Container | undefined {
    const name = text.replace(/^\//, '');
    const own = this.own();
    return (
      own.find((one) => one.name === name || one.id === name) ??
      (/^[0-9a-f]{4,}$/.test(name) ? own.find(({ id }) => id.startsWith(name)) : undefined)
    );
  }

  /** Whose sandbox a container of mode `container:` is in. */
  #joined(text: string): Container {
    const found = this.#named(text);
    if (found === undefined) throw new DockerError(404, `No such container: ${text}`);
    return found;
  }

  /** Nothing where it runs already. */
  async start(container: Container): Promise<boolean> {
    const settings = this.requireOwn(container, 'start');
    if (container.paused === true) throw new DockerError(409, 'cannot start a paused container, try unpause instead');
    if (container.state === 'running') return false;
    this.#restarts.forget(container.id);
    this.#markStopped(container.id, false);
    let started = false;
    try {
      await this.#turns.take(container.id, async () => {
        // Its restart policy may have been first.
        if (this.#engine.container(container.id)?.state === 'running') return;
        await this.#launch(container, settings);
        started = true;
      });
    } catch (error) {
      if (settings.autoRemove) await this.remove(container, { force: true, volumes: true });
      throw error;
    }
    return started;
  }

  async stop(container: Container, seconds?: number): Promise<void> {
    this.#restarts.cancel(container.id);
    if (settingsOf(container) !== undefined) this.#markStopped(container.id, true);
    // Its restart policy may be at it just now.
    await this.#turns.settled(container.id);
    if (this.#engine.container(container.id)?.state !== 'running') return;
    await this.#engine.stopContainer(container.id, { graceSeconds: this.#graceSeconds(container, seconds) });
    this.happenings.about(container, 'stop');
  }

  async restart(container: Container, seconds?: number): Promise<void> {
    const settings = this.requireOwn(container, 'restart');
    this.#restarts.forget(container.id);
    this.#markStopped(container.id, true);
    await this.#engine.stopContainer(container.id, { graceSeconds: this.#graceSeconds(container, seconds) });
    this.#markStopped(container.id, false);
    const now = this.#engine.container(container.id);
    // With `--rm` its end took it away.
    if (now === undefined) throw new DockerError(404, `No such container: ${container.id}`);
    await this.#turns.take(now.id, () => this.#launch(now, settings));
    this.happenings.about(now, 'restart');
  }

  async kill(container: Container, signal: string): Promise<void> {
    const ends = ['9', 'KILL', 'SIGKILL', '15', 'TERM', 'SIGTERM', container.spec.stopSignal].includes(signal);
    if (ends && settingsOf(container) !== undefined) this.#markStopped(container.id, true);
    if (container.state !== 'running') {
      throw new DockerError(409, `cannot kill container: ${container.id}: container ${container.id} is not running`);
    }
    await this.#engine.killContainer(container.id, signal);
    this.happenings.about(container, 'kill', { signal });
  }

  async remove(container: Container, { force = false, volumes = false }: RemoveOptions): Promise<void> {
    const settings = this.requireOwn(container, 'remove');
    if (container.state === 'running' && !force) {
      throw new DockerError(
        409,
        container.paused === true
          ? `cannot remove container "/${container.name}": container is paused and must be unpaused first`
          : `cannot remove container "/${container.name}": container is running: stop the container before removing or force remove`,
      );
    }
    const removing = this.#remove(container, settings, volumes);
    this.#removing.set(container.id, removing);
    await removing.finally(() => {
      if (this.#removing.get(container.id) === removing) this.#removing.delete(container.id);
    });
  }

  /** Resolves when everything that goes with it is gone too; the engine says that a container is removed before that. */
  async removed(id: string): Promise<void> {
    await this.#removing.get(id)?.catch(() => {});
  }

  async #remove(container: Container, settings: Settings, volumes: boolean): Promise<void> {
    this.#restarts.forget(container.id);
    this.#markStopped(container.id, true);
    if (!volumes) for (const { name } of settings.volumes) await this.volumes.keep(name);
    await this.#engine.removeContainer(container.id, { force: true, logs: true });
    // Others may have joined it.
    if (!this.#engine.containers().some(({ sandbox }) => sandbox === container.sandbox))
      await this.#engine.removeSandbox(container.sandbox);
    this.networks.forget(container.id);
    this.#markStopped(container.id, false);
    if (!volumes) return;
    for (const { name, anonymous } of settings.volumes)
      if (anonymous && this.usersOf(name).length === 0) await this.volumes.remove(name);
  }

  /** Containers that have the volume. */
  usersOf(volume: string): string[] {
    const making = [...this.#making].flatMap(([id, held]) => (held.some(({ name }) => name === volume) ? [id] : []));
    const made = this.own().filter((container) => volumeNames(container).includes(volume));
    return [...new Set([...making, ...made.map(({ id }) => id)])];
  }

  #graceSeconds({ labels, ...container }: Container, seconds: number | undefined): number {
    const wanted = seconds ?? settingsOf({ labels, ...container })?.stopSeconds ?? DEFAULT_STOP_SECONDS;
    // Docker's -1: for ever.
    return wanted < 0 ? 1_000_000 : wanted;
  }

  /** What a pod keeps is not changed here. @throws DockerError 409 */
  requireOwn(container: Container, verb: string): Settings {
    const settings = settingsOf(container);
    if (settings !== undefined) return settings;
    throw new DockerError(
      409,
      `cannot ${verb} container ${container.id.slice(0, 12)}: it belongs to a pod, and the platform keeps it as the pod says; change or delete the pod with kubectl, or the app with sampan`,
    );
  }

  async #launch(container: Container, settings: Settings): Promise<void> {
    this.#checkJoined(settings);
    const { network } = await this.#engine.recoverSandbox(container.sandbox);
    // A boot takes what is mounted in a volume too.
    for (const name of volumeNames(container)) {
      const volume = this.volumes.get(name);
      if (volume !== undefined) await this.volumes.source(volume, this.#engine.info().allowedBinds);
    }
    await this.networks.prepare(container, identityOf(container));
    // With the host's network they are the host's already.
    const wanted = network === 'host' ? [] : this.#portsOf(container, settings);
    try {
      if (wanted.length > 0) await this.#engine.publishPorts(container.sandbox, wanted);
      await this.#engine.startContainer(container.id, { again: true });
    } catch (error) {
      if (wanted.length > 0) await this.#engine.publishPorts(container.sandbox, []).catch(this.#onError);
      if (error instanceof EngineError && error.code === 'conflict' && error.message.startsWith('Bind for '))
        throw new DockerError(
          500,
          `driver failed programming external connectivity on endpoint ${container.name}: ${error.message}`,
          { cause: error },
        );
      throw error;
    }
  }

  #checkJoined({ networkMode = '' }: Settings): void {
    if (!networkMode.startsWith('container:')) return;
    const id = networkMode.slice('container:'.length);
    const owner = this.#engine.container(id);
    if (owner === undefined)
      throw new DockerError(409, `joining network namespace of container: No such container: ${id}`);
    if (owner.state !== 'running')
      throw new DockerError(409, `cannot join network namespace of a non running container: ${id}`);
  }

  /** Of its own sandbox: the ports of one that it joined are another's. */
  async #unpublish({ sandbox }: Container, { networkMode = '' }: Settings): Promise<void> {
    if (networkMode.startsWith('container:')) return;
    if ((this.#engine.sandbox(sandbox)?.published ?? []).length > 0) await this.#engine.publishPorts(sandbox, []);
  }

  #portsOf(container: Container, { bindings, publishAll, exposed }: Settings): PublishedPort[] {
    if (!this.networks.isReachable(container.id)) return [];
    if (!publishAll) return bindings;
    const image = this.#engine.images.get(container.imageDigest)?.config.exposedPorts ?? [];
    const all = [...new Set([...exposed, ...image.map((port) => (port.includes('/') ? port : `${port}/tcp`))])];
    const rest = all
      .map((text) => text.split('/'))
      .map(
        ([port, protocol]): PublishedPort => ({
          port: Number(port),
          protocol: protocol === 'udp' ? 'udp' : 'tcp',
          hostPort: 0,
        }),
      )
      .filter(
        ({ port, protocol }) => port > 0 && !bindings.some((one) => one.port === port && one.protocol === protocol),
      );
    return [...bindings, ...rest];
  }

  async #follow(events: ReturnType<DockerEngine['events']>): Promise<void> {
    for await (const event of events) {
      const container = this.#engine.container(event.id);
      if (container !== undefined && event.type === 'container-started') this.#tellNetworks(container, 'connect');
      if (event.type === 'container-removed')
        void this.removed(event.id).then(() => this.happenings.tell(event, container));
      else this.happenings.tell(event, container);
      this.health.follow(event, container);
      if (container !== undefined && event.type === 'container-exited') this.#tellNetworks(container, 'disconnect');
      if (event.type === 'container-exited' && container !== undefined)
        void this.#ended(container, false).catch(this.#onError);
    }
  }

  #tellNetworks({ id }: Container, action: 'connect' | 'disconnect'): void {
    for (const { networkId, networkName } of this.networks.endpointsOf(id))
      this.happenings.add('network', action, networkId, { container: id, name: networkName, type: 'bridge' });
  }

  /** @param earlier  whether it ended while no engine looked */
  async #ended(container: Container, earlier: boolean): Promise<void> {
    const settings = settingsOf(container);
    if (settings === undefined) return;
    await this.#turns.take(container.id, async () => {
      // It may run again by now.
      const now = this.#engine.container(container.id);
      if (now?.state === 'exited') await this.#settle(now, settingsOf(now) ?? settings, earlier);
    });
  }

  async #settle(container: Container, settings: Settings, earlier: boolean): Promise<void> {
    if (settings.autoRemove) return await this.remove(container, { volumes: true });
    await this.#unpublish(container, settings);
    const stopped = existsSync(join(this.#stoppedDirectory, container.id));
    const { name, maximum } = settings.restart;
    const code = container.exit?.code ?? 0;
    // A restart of the engine starts also what was stopped by hand, where the policy is `always`.
    const wanted =
      name === 'always'
        ? earlier || !stopped
        : !stopped &&
          (name === 'unless-stopped' ||
            (name === 'on-failure' && code !== 0 && (maximum === 0 || this.#restarts.count(container.id) < maximum)));
    // The first start failed: whoever asked for it was told.
    if (!wanted || (container.startedAt === undefined && !earlier)) return;
    // From here on it is as if nobody had stopped it.
    if (stopped) this.#markStopped(container.id, false);
    this.#restarts.schedule(container.id, (container.exit?.at ?? 0) - (container.startedAt ?? 0));
  }

  async #startAgain(id: string): Promise<void> {
    const container = this.#engine.container(id);
    const settings = container === undefined ? undefined : settingsOf(container);
    if (container?.state !== 'exited' || settings === undefined) return;
    const launch = async (): Promise<void> => {
      // Somebody may have been first.
      if (this.#engine.container(id)?.state !== 'exited') return;
      if (!existsSync(join(this.#stoppedDirectory, id))) await this.#launch(container, settings);
    };
    await this.#turns.take(id, launch).catch((error: unknown) => {
      this.#onError(error);
      this.#restarts.schedule(id, 0);
    });
  }

  /** Written before it is stopped, so that a crash between the two does not bring it back. */
  #markStopped(id: string, stopped: boolean): void {
    const file = join(this.#stoppedDirectory, id);
    if (stopped) writeFileSync(file, '');
    else rmSync(file, { force: true });
  }
}

export function checkName(name: string): void {
  if (!CONTAINER_NAME.test(name))
    throw new DockerError(400, `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
}

/** Where every container is that asked for nothing: nothing is written down, and what the pool has ready is in it already. */
function isPlain({ mode }: CreateRequest['networks'], endpoints: readonly Endpoint[]): boolean {
  return mode === 'bridge' && endpoints.length === 1 && endpoints[0]?.networkName === 'bridge';
}

export function identityOf(container: Container): Identity {
  return { id: container.id, name: container.name, hostname: settingsOf(container)?.hostname ?? '' };
}

function volumeNames(container: Container): string[] {
  return settingsOf(container)?.volumes.map(({ name }) => name) ?? [];
}
