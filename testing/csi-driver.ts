/**
 * A CSI driver for tests, in this process: directories, or loop devices, as volumes, bound to where they are asked for. It speaks the protocol (csi.proto v1,
 * pluginregistration/v1) over gRPC as any driver does, and takes no call that the specification has it refuse.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, rmdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { type Http2Server, type ServerHttp2Session, type ServerHttp2Stream, createServer } from 'node:http2';
import { dirname, join } from 'node:path';
import { ProtobufWriter, protobufBytes, protobufFields } from '#lib/protobuf.ts';

export interface CsiCall {
  method: string;
  /** Fields by their numbers: text, numbers, and maps as objects. */
  fields: Record<number, unknown>;
}

export interface CsiDriverOptions {
  name: string;
  /** Of volumes and the driver's socket. */
  directory: string;
  /** Where an agent looks for plugins. */
  registry: string;
  nodeId: string;
  maxVolumes?: number;
  topology?: Record<string, string>;
}

export interface TestCsiDriver {
  /** Since it was started first. */
  readonly calls: readonly CsiCall[];
  /** What it was told of its registration: empty where it was taken in. */
  readonly registered: readonly string[];
  /** Says this instead of doing it, for as long as it is set: status and words. */
  refusal: { method: string; status: number; message: string } | undefined;
  /** What is wrong with each of its volumes, as long as it is set. */
  problem: string | undefined;
  /** The directory of a volume, which is made. */
  volume(id: string): string;
  /** The file of one that is a device, which is made. */
  image(id: string): string;
  start(): Promise<void>;
  /** As if killed: its sockets are gone. */
  stop(): Promise<void>;
}

const STAGE = 1;
const STATS = 2;
const EXPAND = 3;
const CONDITION = 4;
const FRAME_HEAD = 5;

export function testCsiDriver(options: CsiDriverOptions): TestCsiDriver {
  const calls: CsiCall[] = [];
  const registered: string[] = [];
  const servers: { server: Http2Server; sessions: Set<ServerHttp2Session>; path: string }[] = [];
  /** Of volumes that are published as devices. */
  const loops = new Map<string, string>();
  const endpoint = join(options.directory, 'csi.sock');
  const methods: Record<string, (call: CsiCall) => ProtobufWriter> = {
    GetInfo: () =>
      new ProtobufWriter().text(1, 'CSIPlugin').text(2, options.name).text(3, endpoint).text(4, '1.0.0').text(4, '0.3'),
    NotifyRegistrationStatus: ({ fields }) => {
      registered.push(fields[1] === 1 ? '' : String(fields[2]));
      return new ProtobufWriter();
    },
    NodeGetInfo: () => nodeInfo(options),
    NodeGetCapabilities: () => {
      const writer = new ProtobufWriter();
      for (const type of [STAGE, STATS, EXPAND, CONDITION])
        writer.bytes(1, new ProtobufWriter().bytes(1, new ProtobufWriter().int(1, type)));
      return writer;
    },
    NodeStageVolume: ({ fields }) =>
      isBlock(fields[4])
        ? checkDirectory(needed(fields, 3))
        : bindTo(driver.volume(needed(fields, 1)), needed(fields, 3)),
    NodeUnstageVolume: ({ fields }) => unbind(needed(fields, 2), false),
    NodePublishVolume: ({ fields }) => {
      if (isBlock(fields[5])) return publishDevice(needed(fields, 1), needed(fields, 4));
      const ephemeral = !fields[3];
      return bindTo(ephemeral ? driver.volume(needed(fields, 1)) : needed(fields, 3), needed(fields, 4));
    },
    NodeUnpublishVolume: ({ fields }) => {
      const answer = unbind(needed(fields, 2), true);
      const loop = loops.get(needed(fields, 2));
      if (loop !== undefined) execFileSync('losetup', ['--detach', loop]);
      loops.delete(needed(fields, 2));
      return answer;
    },
    // Bytes, then inodes: what is free, what there is, what is used.
    NodeGetVolumeStats: () =>
      [
        [600, 1000, 400],
        [6, 10, 4],
      ].reduce((answer, [free = 0, whole = 0, used = 0], index) => {
        return answer.bytes(
          1,
          new ProtobufWriter()
            .int(1, free)
            .int(2, whole)
            .int(3, used)
            .int(4, index + 1),
        );
      }, condition(driver.problem)),
    NodeExpandVolume: ({ fields }) => new ProtobufWriter().int(1, (fields[3] as { required: number }).required),
  };

  /** Its parent is there, it is not. */
  function publishDevice(id: string, target: string): ProtobufWriter {
    if (isMounted(target)) return new ProtobufWriter();
    const loop = execFileSync('losetup', ['--find', '--show', driver.image(id)], { encoding: 'utf8' }).trim();
    loops.set(target, loop);
    writeFileSync(target, '');
    execFileSync('mount', ['--bind', loop, target]);
    return new ProtobufWriter();
  }

  async function serve(path: string): Promise<void> {
    rmSync(path, { force: true });
    const server = createServer();
    const sessions = new Set<ServerHttp2Session>();
    server.on('session', (session) => {
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    server.on('stream', (stream: ServerHttp2Stream, headers) => void answer(stream, String(headers[':path'])));
    server.listen(path);
    await once(server, 'listening');
    servers.push({ server, sessions, path });
  }

  async function answer(stream: ServerHttp2Stream, path: string): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const method = path.split('/').at(-1) ?? '';
    const call = { method, fields: readFields(method, Buffer.concat(chunks).subarray(FRAME_HEAD)) };
    calls.push(call);
    let [status, message] = [0, ''];
    let body: Uint8Array = Buffer.alloc(0);
    try {
      if (driver.refusal?.method === method) ({ status, message } = driver.refusal);
      else if (methods[method] === undefined) [status, message] = [12, `unknown method ${method}`];
      else body = framed(methods[method](call));
    } catch (error) {
      [status, message] = [13, String(error)];
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () =>
      stream.sendTrailers({ 'grpc-status': String(status), 'grpc-message': encodeURIComponent(message) }),
    );
    stream.end(body);
  }

  const driver: TestCsiDriver = {
    calls,
    registered,
    refusal: undefined,
    problem: undefined,
    volume(id) {
      const path = join(options.directory, 'volumes', id);
      mkdirSync(path, { recursive: true });
      return path;
    },
    image(id) {
      const path = join(options.directory, 'images', id);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, '', { flag: 'a' });
      truncateSync(path, 2 ** 24);
      return path;
    },
    async start() {
      mkdirSync(options.directory, { recursive: true });
      await serve(endpoint);
      await serve(join(options.registry, `${options.name}-reg.sock`));
    },
    async stop() {
      for (const { server, sessions, path } of servers.splice(0)) {
        const closed = once(server, 'close');
        server.close();
        for (const session of sessions) session.destroy();
        await closed;
        rmSync(path, { force: true });
      }
    },
  };
  return driver;
}

/** The answer to a question for statistics, to which those are added. */
function condition(problem: string | undefined): ProtobufWriter {
  const abnormal = new ProtobufWriter().int(1, problem === undefined ? 0 : 1).text(2, problem ?? 'all is well');
  return new ProtobufWriter().bytes(2, abnormal);
}

function nodeInfo({ nodeId, maxVolumes = 0, topology = {} }: CsiDriverOptions): ProtobufWriter {
  const segments = new ProtobufWriter();
  for (const [key, value] of Object.entries(topology))
    segments.bytes(1, new ProtobufWriter().text(1, key).text(2, value));
  return new ProtobufWriter().text(1, nodeId).int(2, maxVolumes).bytes(3, segments);
}

/** By method: which fields are maps, and which are messages of their own. */
const maps: Record<string, number[]> = {
  NodeStageVolume: [2, 5, 6],
  NodePublishVolume: [2, 7, 8],
  NodeExpandVolume: [6],
};
const capabilities: Record<string, number> = { NodeStageVolume: 4, NodePublishVolume: 5, NodeExpandVolume: 5 };

function readFields(method: string, message: Buffer): Record<number, unknown> {
  const fields: Record<number, unknown> = {};
  for (const { number, value } of protobufFields(message)) {
    if (typeof value === 'number') fields[number] = value;
    else if (maps[method]?.includes(number))
      fields[number] = { ...(fields[number] as object | undefined), ...readEntry(value) };
    else if (capabilities[method] === number) fields[number] = readCapability(value);
    else if (method === 'NodeExpandVolume' && number === 3)
      fields[number] = { required: [...protobufFields(value)].find((one) => one.number === 1)?.value };
    else fields[number] = value.toString();
  }
  return fields;
}

function readEntry(entry: Buffer): Record<string, string> {
  const [key, value] = [1, 2].map((number) =>
    protobufBytes([...protobufFields(entry)].find((one) => one.number === number)?.value).toString(),
  );
  return { [key ?? '']: value ?? '' };
}

interface ReadCapability {
  fsType: string;
  flags: string[];
  mode: unknown;
  block?: true;
}

function isBlock(capability: unknown): boolean {
  return (capability as ReadCapability).block === true;
}

function readCapability(message: Buffer): ReadCapability {
  const found: ReadCapability = { fsType: '', flags: [], mode: 0 };
  for (const { number, value } of protobufFields(message)) {
    if (number === 3) found.mode = [...protobufFields(protobufBytes(value))][0]?.value;
    if (number === 1) found.block = true;
    if (number !== 2) continue;
    for (const part of protobufFields(protobufBytes(value)))
      if (part.number === 1) found.fsType = String(part.value);
      else if (part.number === 2) found.flags.push(String(part.value));
  }
  return found;
}

function needed(fields: Record<number, unknown>, number: number): string {
  const value = fields[number];
  if (typeof value !== 'string' || value === '') throw new Error(`field ${number} is missing`);
  return value;
}

function framed(message: ProtobufWriter): Buffer {
  const frame = message.finish(FRAME_HEAD);
  frame[0] = 0;
  frame.writeUInt32BE(frame.length - FRAME_HEAD, 1);
  return frame;
}

/** Once more is no error, and no second mount. */
function bindTo(source: string, target: string): ProtobufWriter {
  mkdirSync(target, { recursive: true });
  if (!isMounted(target)) execFileSync('mount', ['--bind', source, target]);
  return new ProtobufWriter();
}

function checkDirectory(path: string): ProtobufWriter {
  if (!statSync(path).isDirectory()) throw new Error(`${path} is no directory`);
  return new ProtobufWriter();
}

function unbind(target: string, remove: boolean): ProtobufWriter {
  if (isMounted(target)) execFileSync('umount', [target]);
  if (remove)
    try {
      if (statSync(target).isDirectory()) rmdirSync(target);
      else rmSync(target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  return new ProtobufWriter();
}

function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[1] === path);
}
