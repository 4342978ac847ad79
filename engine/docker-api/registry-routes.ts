/** What is asked of registries without pulling: credentials, and what lies under a name. */
import { EngineError } from '../engine.ts';
import { parseImageConfig, parseManifest, type Descriptor } from '../images/manifest.ts';
import { Fields, readBody } from './body.ts';
import { answerJson, type Call, hubName } from './call.ts';
import { DockerError } from './errors.ts';
import { transferOptions } from './image-transfer.ts';
import type { Route } from './route.ts';

export async function checkLogin(call: Call): Promise<void> {
  const fields = new Fields(await readBody(call));
  const host = registryHost(fields.text('serveraddress'));
  const [username, password] = [fields.text('username'), fields.text('password')];
  if (fields.text('identitytoken') !== '' && password === '')
    throw new DockerError(400, 'identity tokens are not supported: log in with a user name and a password');
  const { images } = call.engine;
  if (images.login === undefined) throw new DockerError(501, 'this engine has no registries');
  try {
    await images.login(host, {
      ...transferOptions(call),
      ...(username === '' ? {} : { credentials: { username, password } }),
    });
  } catch (error) {
    if (error instanceof EngineError && error.code === 'unauthorized')
      throw new DockerError(401, `Get "https://${host}/v2/": unauthorized: ${error.message}`, { cause: error });
    throw error;
  }
  answerJson(call, { Status: 'Login Succeeded', IdentityToken: '' });
}

/** `https://index.docker.io/v1/` is what clients call Docker Hub. */
function registryHost(address: string): string {
  const host = address.replace(/^https?:\/\//, '').split('/')[0] ?? '';
  if (['', 'index.docker.io', 'registry-1.docker.io'].includes(host)) return 'docker.io';
  if (!/^[\w.-]+(:\d{1,5})?$|^\[[0-9a-f:]+\](:\d{1,5})?$/i.test(host))
    throw new DockerError(400, `invalid registry endpoint ${JSON.stringify(address)}: give host[:port]`);
  return host;
}

export async function inspectDistribution(call: Call): Promise<void> {
  const { images } = call.engine;
  if (images.remoteManifest === undefined) throw new DockerError(501, 'this engine has no registries');
  const name = hubName(call.path['name'] ?? '');
  const { bytes, digest, mediaType } = await images.remoteManifest(name, transferOptions(call));
  const manifest = parseManifest(bytes, mediaType);
  answerJson(call, {
    Descriptor: { mediaType: manifest.mediaType, digest, size: bytes.length },
    Platforms:
      manifest.kind === 'index'
        ? manifest.manifests.flatMap(({ platform }) => (platform === undefined ? [] : [platform]))
        : await platformOf(call, manifest.config),
  });
}

/** Of a single image the config tells, where it is here: it is not fetched for this. */
async function platformOf(call: Call, config: Descriptor): Promise<unknown[]> {
  const { content } = call.engine.images;
  if (content === undefined || (await content.stat(config.digest)) === undefined) return [];
  const { config: image } = parseImageConfig(await content.readAll(config.digest));
  return [{ os: image.os, architecture: image.architecture }];
}

export async function searchImages(call: Call): Promise<void> {
  if ((call.query.get('term') ?? '') === '') throw new DockerError(400, 'invalid parameter: term is empty');
  throw new DockerError(
    501,
    'search is a service of Docker Hub, which this engine does not ask: look at hub.docker.com, or list a registry with skopeo list-tags',
  );
}

const REGISTRY_TEST = 'engine/docker-api/system.test.ts';

export const REGISTRY_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/auth',
    summary: 'Asks a registry whether it takes the credentials',
    handle: checkLogin,
    test: REGISTRY_TEST,
    note: 'user name and password; no identity tokens',
  },
  {
    method: 'GET',
    path: '/distribution/{name}/json',
    summary: 'What a registry has under a name: digest and platforms',
    handle: inspectDistribution,
    test: REGISTRY_TEST,
  },
  {
    method: 'GET',
    path: '/images/search',
    summary: 'Docker Hub’s search',
    handle: searchImages,
    test: REGISTRY_TEST,
    state: 'absent',
    note: 'a service of Docker Hub, which is not asked',
  },
];
