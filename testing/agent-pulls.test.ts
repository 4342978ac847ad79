/** Images from a registry that asks for a login: with the secrets of pods, refused without, beside each other, and told of. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { events, nodes, pods, secrets } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { type RegistryHost, startRegistryHost } from './registry-host.ts';

const namespace = 'default';
const login = 'ann:secret';
let registry: RegistryHost;
let bed: AgentFixture;
/** Requests wait here until as many others do. */
let barrier: { left: number; open: PromiseWithResolvers<void> } | undefined;

before(async () => {
  registry = await startRegistryHost({
    user: login,
    authorize: async ({ username, password, action, repository }) => {
      if (action === 'pull' && repository?.startsWith('together') === true && barrier !== undefined) {
        barrier.left -= 1;
        if (barrier.left <= 0) barrier.open.resolve();
        await barrier.open.promise;
      }
      return `${username}:${password}` === login;
    },
  });
  bed = await agentFixture(await claimOctet(), { engine: { registries: { [registry.host]: { ca: registry.ca } } } });
  for (const repository of ['team/app', 'together/a', 'together/b']) await push(repository);
});
after(async () => {
  await bed.close();
  await registry[Symbol.asyncDispose]();
});

/** The fixture's busybox, under another name. */
async function push(repository: string): Promise<void> {
  const { content } = bed.engine;
  const { digest = '' } = bed.engine.images.get(bed.image) ?? {};
  const manifest = JSON.parse((await content.readAll(digest)).toString()) as {
    mediaType: string;
    config: { digest: string };
    layers: { digest: string }[];
  };
  for (const part of [manifest.config, ...manifest.layers])
    await registry.pushBlob(repository, await content.readAll(part.digest));
  const name = repository.replace('/', '-');
  // Of another digest, so that nothing of it is here by name or by digest.
  const { status } = await registry.pushManifest(repository, 'v1', { ...manifest, annotations: { name } });
  assert.equal(status, 201);
}

async function create(
  name: string,
  repository: string,
  more: { imagePullSecrets?: { name: string }[]; policy?: string } = {},
) {
  const { policy = 'Always', ...spec } = more;
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: {
      ...spec,
      nodeName: bed.nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: `${registry.host}/${repository}:v1`,
          imagePullPolicy: policy,
          command: ['sleep', '1000'],
        },
      ],
    },
  });
}

async function giveSecret(name: string, auths: Record<string, unknown>): Promise<void> {
  const data = { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') };
  await bed.client.create(secrets, { metadata: { name, namespace }, type: 'kubernetes.io/dockerconfigjson', data });
}

const waiting = (pod: Stored<Pod> | undefined) => pod?.status?.containerStatuses?.[0]?.state?.waiting;
const runs = (pod: Stored<Pod> | undefined): boolean =>
  pod?.status?.containerStatuses?.[0]?.state?.running !== undefined;

test('without a login: ErrImagePull with the reason, then ImagePullBackOff', async () => {
  await create('stranger', 'team/app');
  const failed = await bed.until('stranger', 'refused', (pod) => waiting(pod)?.reason === 'ErrImagePull');
  assert.match(waiting(failed)?.message ?? '', /^failed to pull image ".*team\/app:v1": .*authentication required/);
  const held = await bed.until('stranger', 'held back', (pod) => waiting(pod)?.reason === 'ImagePullBackOff');
  assert.equal(waiting(held)?.message, `Back-off pulling image "${registry.host}/team/app:v1"`);
  await create('never', 'team/app', { policy: 'Never' });
  await bed.until('never', 'not pulled', (pod) => waiting(pod)?.reason === 'ErrImageNeverPull');
});

test('the secrets of the pod are tried, the one that fits best first', async () => {
  const auth = Buffer.from(login).toString('base64');
  await giveSecret('wrong', { [registry.host]: { username: 'ann', password: 'wrong' } });
  await giveSecret('right', { 'other.example': { auth: 'eDp5' }, [`https://${registry.host}/team`]: { auth } });
  await create('member', 'team/app', { imagePullSecrets: [{ name: 'none' }, { name: 'wrong' }, { name: 'right' }] });
  await bed.until('member', 'running', runs);
  const reasons = async () =>
    (await bed.client.list(events, { namespace })).items
      .filter(({ involvedObject }) => involvedObject.name === 'member')
      .map(({ reason, message }) => `${reason}: ${message}`);
  await until(bed.client, events, namespace, (all) =>
    all.some(({ reason, involvedObject }) => involvedObject.name === 'member' && reason === 'Started'),
  );
  const said = (await reasons()).join('\n');
  assert.match(said, /Pulling: Pulling image ".*team\/app:v1"/);
  assert.match(said, /Pulled: Successfully pulled image ".*" in \d+\.\d+s\. Image size: \d+ bytes\./);
});

test('images of several pods are pulled beside each other, and the node tells which it has', async () => {
  await giveSecret('wide', {
    [registry.host.replace('127.0.0.1', '127.0.*.*')]: { username: 'ann', password: 'secret' },
  });
  barrier = { left: 2, open: Promise.withResolvers<void>() };
  const imagePullSecrets = [{ name: 'wide' }];
  await Promise.all(['a', 'b'].map((name) => create(`pull-${name}`, `together/${name}`, { imagePullSecrets })));
  await Promise.all(['a', 'b'].map((name) => bed.until(`pull-${name}`, 'running', runs)));
  await until(bed.client, nodes, undefined, ([node]) =>
    Boolean(node?.status?.images?.some(({ names }) => names?.includes(`${registry.host}/together/a:v1`))),
  );
});
