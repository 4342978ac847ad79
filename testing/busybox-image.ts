/** A small image for tests without a network: this machine's static busybox, put into an engine's own content store. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { digestOf } from '#lib/digest.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import type { NodeImages } from '#engine/images/open.ts';
import { linksScope, manifestsScope } from '#engine/images/scopes.ts';

const host = 'fixtures.invalid';
const file = (name: string, text: string, mode = 0o644): TarInput => {
  const data = Buffer.from(text);
  return { name, type: 'file', mode, uid: 0, gid: 0, sizeBytes: data.length, mtimeSeconds: 0, data };
};
const directory = (name: string, mode = 0o755, uid = 0): TarInput => ({
  name,
  type: 'directory',
  mode,
  uid,
  gid: uid,
  sizeBytes: 0,
  mtimeSeconds: 0,
});

function busyboxPath(): string {
  for (const path of ['/bin/busybox', '/usr/bin/busybox']) if (existsSync(path)) return path;
  throw new Error('these tests need a static busybox: apt-get install busybox-static');
}

function entries(): TarInput[][] {
  const path = busyboxPath();
  const binary = readFileSync(path);
  const applets = execFileSync(path, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox');
  const link = (name: string): TarInput => ({
    name: `bin/${name}`,
    type: 'symlink',
    mode: 0o777,
    uid: 0,
    gid: 0,
    sizeBytes: 0,
    mtimeSeconds: 0,
    linkName: 'busybox',
  });
  const base: TarInput[] = [
    ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'var'].map((name) => directory(name)),
    directory('tmp', 0o1777),
    {
      name: 'bin/busybox',
      type: 'file',
      mode: 0o755,
      uid: 0,
      gid: 0,
      sizeBytes: binary.length,
      mtimeSeconds: 0,
      data: binary,
    },
    ...applets.map(link),
  ];
  const app: TarInput[] = [
    directory('home'),
    directory('home/app', 0o755, 1000),
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n'),
    file('etc/group', 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n'),
    file('etc/not-executable', 'text'),
  ];
  return [base, app];
}

/**
 * @param options  `entries`: a layer on top, `layers`: several; `config`: more of the image's configuration
 * @returns a reference for `createContainer`; two layers, user root, command `sh`
 */
export async function addBusyboxImage(
  images: NodeImages,
  options: { repository?: string; config?: Record<string, unknown>; entries?: TarInput[]; layers?: TarInput[][] } = {},
): Promise<string> {
  const { repository = 'busybox', config: extra = {}, entries: more, layers: several = [] } = options;
  const { content } = images;
  const put = async (bytes: Uint8Array): Promise<{ digest: string; size: number }> => {
    const { digest, sizeBytes } = await content.write(bytes, {});
    await content.setName(linksScope(repository), digest, digest);
    return { digest, size: sizeBytes };
  };
  const layers = [];
  const diffIds = [];
  for (const inputs of [...entries(), ...(more === undefined ? [] : [more]), ...several]) {
    const bytes = Buffer.concat(await Array.fromAsync(writeTar(inputs)));
    diffIds.push(digestOf(bytes));
    layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...(await put(bytes)) });
  }
  const config = await put(
    Buffer.from(
      JSON.stringify({
        created: '2024-01-02T03:04:05Z',
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        config: { Cmd: ['sh'], Env: ['PATH=/bin', 'FROM_IMAGE=yes'], ...extra },
        rootfs: { type: 'layers', diff_ids: diffIds },
      }),
    ),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers,
      }),
    ),
  );
  await content.setName(manifestsScope(repository), manifest.digest, manifest.digest);
  await content.setName(repository, 'latest', manifest.digest);
  images.serveLocally(host);
  const reference = `${host}/${repository}:latest`;
  await images.pull(reference);
  return reference;
}
