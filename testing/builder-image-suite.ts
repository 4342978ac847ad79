/** Builds by a builder image of Cloud Native Buildpacks, made here: buildpacks of a few lines, one of them made of others. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressGuard } from '#lib/guarded-address.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { createBits } from '#platform/staging/bits/bits.ts';
import { appRepository, readPackage } from '#platform/staging/bits/package-image.ts';
import { BUILDER_REPOSITORY } from '#platform/staging/builder/builder.ts';
import { buildImageLayers, builderCommand } from '#platform/staging/builder/builder-build-image.ts';
import { builderEnvironment, builderRunImage, openBuilderImage } from '#platform/staging/builder/builder-image.ts';
import { toolCommand } from '#platform/staging/builder/builder-tools.ts';
import { parseBuildResult } from '#platform/staging/export/build-result.ts';
import { exportDroplet } from '#platform/staging/export/exporter.ts';
import { readPrevious, writePrevious } from '#platform/staging/export/previous.ts';
import { directoryEntry, fileEntry } from '#platform/staging/images/entries.ts';
import type { ImageConfigFile } from '#platform/staging/images/oci.ts';
import { pushLayer } from '#platform/staging/images/push-layer.ts';
import { writeImage } from '#platform/staging/images/single-layer.ts';
import type { StagingBed } from './staging-bed.ts';

/** `/cnb` of the builder. Everything is for a plain shell. */
export function* builderEntries(serve: string): Generator<TarInput> {
  const buildpack = (id: string, version: string, rest: string) =>
    `api = "0.10"\n[buildpack]\nid = "${id}"\nversion = "${version}"\nname = "${id}"\n${rest}`;
  const group = (...ids: string[]) =>
    `[[order]]\n${ids.map((id) => `[[order.group]]\nid = "${id.split('@')[0]}"\nversion = "${id.split('@')[1]}"\n`).join('')}`;
  yield directoryEntry('cnb');
  yield fileEntry('cnb/order.toml', group('test/all@1.0.0'));
  const place = (name: string) => `cnb/buildpacks/${name}`;
  for (const name of ['', '/test_all', '/test_none', '/test_words', '/test_serve'])
    yield directoryEntry(`cnb/buildpacks${name}`);
  const all = group('test/none@1.0.0') + group('test/words@2.0.0', 'test/serve@1.0.0');
  yield directoryEntry(place('test_all/1.0.0'));
  yield fileEntry(place('test_all/1.0.0/buildpack.toml'), buildpack('test/all', '1.0.0', all));
  const programs: [string, string, string, string][] = [
    ['test_none/1.0.0', 'test/none@1.0.0', 'exit 100', 'exit 1'],
    [
      'test_words/2.0.0',
      'test/words@2.0.0',
      `printf '[[provides]]\\nname = "words"\\n' >"$2"`,
      `grep -q words "$3"
layer=$1/words
if [ -f "$layer.toml" ]; then echo "words are kept"; fi
mkdir -p "$layer/env.launch"
cat words.txt >"$layer/env.launch/WORDS"
printf '[types]\\nlaunch = true\\ncache = true\\n[metadata]\\nfor = "words"\\n' >"$layer.toml"`,
    ],
    [
      'test_serve/1.0.0',
      'test/serve@1.0.0',
      `[ -f words.txt ] || exit 100
printf '[[requires]]\\nname = "words"\\n' >"$2"`,
      `echo "on $CNB_STACK_ID $CNB_TARGET_DISTRO_NAME"
printf '[[processes]]\\ntype = "web"\\ncommand = ["sh", "-c", """%s"""]\\ndefault = true\\n' '${serve}' >"$1/launch.toml"`,
    ],
  ];
  for (const [directory, name, detect, build] of programs) {
    const [id = '', version = ''] = name.split('@');
    yield directoryEntry(place(directory));
    yield directoryEntry(place(`${directory}/bin`));
    yield fileEntry(place(`${directory}/buildpack.toml`), buildpack(id, version, ''));
    yield fileEntry(place(`${directory}/bin/detect`), `#!/bin/sh\n${detect}\n`, 0o755);
    yield fileEntry(place(`${directory}/bin/build`), `#!/bin/sh\nset -e\n${build}\n`, 0o755);
  }
}

export const builderLabels = (run: string) => ({
  'io.buildpacks.builder.metadata': JSON.stringify({ stack: { runImage: { image: run } } }),
  'io.buildpacks.stack.id': 'test.stack',
  'io.buildpacks.base.distro.name': 'testian',
});

export const SERVE =
  'mkdir -p /tmp/www && echo "$WORDS" >/tmp/www/index.html && exec busybox httpd -f -p $PORT -h /tmp/www';

export function builderImageTests(open: () => StagingBed): void {
  describe('builder images', () => {
    // Counted from its use: what comes before in the file may take as long.
    const patience = () => AbortSignal.timeout(300_000);
    const guard = addressGuard(() => [], []);
    const context = () => ({
      registry: open().registry.client,
      guard,
      onProgress: () => undefined,
      signal: patience(),
    });

    async function write(name: string, layers: TarInput[], labels: Record<string, string>): Promise<string> {
      const { registry, builder } = open();
      const { client } = registry;
      await client.shareLayer(name, builder.stack, BUILDER_REPOSITORY);
      const all = [builder.stack];
      if (layers.length > 0) all.push(await pushLayer(client, name, writeTar(layers)));
      const run = { Labels: labels, Env: ['MADE=by the test'] };
      await writeImage(client, name, '1', { architecture: builder.architecture, layers: all, run });
      return `${client.host}/${name}:1`;
    }

    /** What was told, and the droplet's image. */
    async function build(app: string, name: string, words: string) {
      const bed = open();
      const signal = patience();
      const { registry, builder: own } = bed;
      const { client } = registry;
      const repository = appRepository(app);
      const zip = bed.zip({ 'words.txt': words });
      const { image } = await createBits(client).store({ app, zip, resources: [] });
      const source = (await readPackage(client, repository, image.split('@')[1] ?? '')) ?? assert.fail(image);
      const opened = await openBuilderImage(context(), name);
      const previous = await readPrevious(client, repository, `builder ${name}`);
      const parts = { registry: client, repository, own, opened, previous, source: source.layer, signal };
      using container = bed.container();
      const below = [own.stack, own.lifecycle, ...own.seeds.map(({ layer }) => layer)].map(({ digest }) => digest);
      const layers = await buildImageLayers(parts);
      const above = layers.filter(({ digest }) => !below.includes(digest));
      await container.unpack(client, repository, above);
      const env = Object.fromEntries(
        builderEnvironment(opened).map((entry) => [entry.split('=', 1)[0] ?? '', entry.slice(entry.indexOf('=') + 1)]),
      );
      const { status, output } = await container.finish(builderCommand(own), { ...env, SAMPAN_BUILDER: '1' });
      if (status !== 0) throw Object.assign(new Error(output), { status });
      for (const tool of ['tar', 'find', 'cat'])
        assert.equal((await container.finish([...toolCommand(own, tool), '--version'])).status, 0, tool);
      const exported = await exportDroplet({
        registry: client,
        repository,
        run: builderRunImage(opened, own.architecture),
        seeds: [],
        source: source.layer,
        result: parseBuildResult(container.readFile('/layers/.sampan-result.json')),
        previous,
        readDirectory: (path) => container.readDirectory(path),
        layerBytes: 1024 ** 2,
        onProgress: () => undefined,
        signal,
      });
      await client.putManifest(repository, 'droplet', exported.manifest);
      await writePrevious(client, repository, exported.next);
      return { output, exported };
    }

    test('its order, taken apart, its buildpacks and its run image make a droplet; the next build finds its layers', async () => {
      const { client } = open().registry;
      const run = await write('team/run', [], { 'io.buildpacks.stack.id': 'test.stack' });
      const name = await write('team/builder', [...builderEntries(SERVE)], builderLabels(run));
      const first = await build('built', name, 'by a builder');
      assert.match(first.output, /-----> test\/words 2\.0\.0, test\/serve 1\.0\.0\n[^]*on test\.stack testian/);
      assert.doesNotMatch(first.output, /words are kept/);
      assert.equal((await open().ask('built')).body, 'by a builder\n');
      const image = await client.getImage<ImageConfigFile>('cf/built', 'droplet');
      const { Labels = {}, Env = [] } = image?.config.config ?? {};
      assert.equal(Labels['io.buildpacks.stack.id'], 'test.stack');
      const { runImage } = JSON.parse(Labels['io.buildpacks.lifecycle.metadata'] ?? '{}') as Record<string, object>;
      assert.deepEqual(Object.keys(runImage ?? {}), ['topLayer', 'reference']);
      assert.ok(Env.includes('MADE=by the test'), 'the run image has a say in the environment');
      const second = await build('built', name, 'again');
      assert.match(second.output, /words are kept/);
      assert.equal((await open().ask('built')).body, 'again\n');
    });

    test('what is no builder, or does not fit together, is refused by name', async () => {
      const run = await write('team/other-run', [], { 'io.buildpacks.stack.id': 'another.stack' });
      const cases: [string, RegExp][] = [
        [run, /other-run:1 is no builder of Cloud Native Buildpacks: it has no label/],
        [await write('team/no-run', [], { 'io.buildpacks.builder.metadata': '{}' }), /it names no run image/],
        [await write('team/no-json', [], { 'io.buildpacks.builder.metadata': '{' }), /it names no run image/],
        [
          await write('team/mixed', [], builderLabels(run)),
          /is for stack test\.stack, and its run image .* is another/,
        ],
      ];
      for (const [name, message] of cases)
        await assert.rejects(openBuilderImage(context(), name), { code: 'build-failed', message });
      const { host } = open().registry.client;
      for (const name of [`${host}/team/none:1`, `${host}/cf/built:droplet`, '127.0.0.1:1/x/y:1'])
        await assert.rejects(openBuilderImage(context(), name), { code: 'no-image' });
    });
  });
}
