/** Buildpacks that the platform does not ship: by address and uploaded, Cloud Native ones and Cloud Foundry's own kind. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { WantedBuildpacks } from '#platform/staging/lifecycle/protocol.ts';
import { createBuildpackFiles } from '#platform/staging/uploaded-buildpacks.ts';
import { GitServer, type RepositoryFile } from './git-server.ts';
import type { StagingBed } from './staging-bed.ts';

/** Shows a page that a shell wrote, with what the stack has. */
const serve = (words: string) =>
  `mkdir -p /tmp/www && (${words}) >/tmp/www/index.html && exec busybox httpd -f -p $PORT -h /tmp/www`;

const program = (text: string): RepositoryFile => ({ run: `#!/bin/bash\nset -eu\n${text}\n` });

export const cloudNative = (api = '0.10'): Record<string, RepositoryFile> => ({
  'buildpack.toml': `api = "${api}"\n[buildpack]\nid = "test/echo"\nname = "Echo"\nversion = "1.2.3"\n`,
  'bin/detect': program('[ -f echo.txt ] || exit 100'),
  'bin/build': program(`
layer=$1/words
mkdir -p "$layer/env.launch"
printf %s "$(cat echo.txt)" >"$layer/env.launch/WORDS"
printf '[types]\\nlaunch = true\\n' >"$layer.toml"
cat >"$layer.sbom.cdx.json" <<'END'
{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library","name":"words","version":"0.1","purl":"pkg:generic/words@0.1","extra":1}]}
END
cat >"$1/launch.toml" <<'END'
[[processes]]
type = "web"
command = ["bash", "-c", '''${serve('echo "$WORDS"')}''']
default = true
END`),
});

const supplier: Record<string, RepositoryFile> = {
  'bin/supply': program(
    'mkdir -p "$3/$4/bin"; printf \'#!/bin/sh\\necho supplied by %s\\n\' "$4" >"$3/$4/bin/supplied"; chmod 755 "$3/$4/bin/supplied"',
  ),
};

const finisher: Record<string, RepositoryFile> = {
  VERSION: '4.5.6\n',
  'bin/detect': program('echo nobody asks; exit 1'),
  'bin/supply': program('[ "$4" = 1 ]; mkdir -p "$3/$4"'),
  'bin/finalize': program(`
count=$(($(cat "$2/count" 2>/dev/null || echo 0) + 1))
echo "$count" >"$2/count"
echo "build number $count"
echo 'export PATH="$DEPS_DIR/0/bin:$PATH"' >"$5/path.sh"
echo compiled >"$1/compiled.txt"`),
  'bin/release': program(`echo noise >&2
cat <<'END'
---
default_process_types:
  web: ${serve('supplied; cat "$HOME/compiled.txt" /home/vcap/app/compiled.txt; echo "$DEPS_DIR"')}
END`),
};

export const textsOf = (files: Record<string, RepositoryFile>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(files).map(([name, file]) => [
      name,
      typeof file === 'string' ? file : Buffer.isBuffer(file) ? file.toString() : 'run' in file ? file.run : file.link,
    ]),
  );

const byUrl = (...urls: string[]): WantedBuildpacks => ({ chosen: true, groups: [urls.map((url) => ({ url }))] });

export function customBuildpackTests(open: () => StagingBed): void {
  describe('buildpacks of others', () => {
    let server: GitServer;
    before(async () => {
      server = await new GitServer().listen();
      server.commit('echo', cloudNative());
      server.git('echo', ['tag', 'v1']);
      server.commit('echo', { 'bin/build': program('exit 7') });
    });
    after(() => server[Symbol.asyncDispose]());

    test('a Cloud Native Buildpack of a git repository, at a tag', async () => {
      const bed = open();
      const files = { 'echo.txt': "it's $HOME" };
      const { exported, output } = await bed.stage('echo', files, byUrl(`${server.url('echo')}#v1`));
      assert.match(output, /Fetching buildpack http:.*#v1/);
      assert.deepEqual(exported.buildpacks, [{ name: 'test/echo', version: '1.2.3' }]);
      assert.equal((await bed.ask('echo')).body, "it's $HOME\n");
      const told = exported.components.filter(({ purl, name }) => purl?.includes('words') || name === 'test/echo');
      assert.deepEqual(told, [
        { type: 'application', name: 'test/echo', version: '1.2.3' },
        { type: 'library', name: 'words', version: '0.1', purl: 'pkg:generic/words@0.1' },
      ]);
      await assert.rejects(bed.stage('echo', files, byUrl(server.url('echo'))), /buildpack test\/echo ended with 7/);
    });

    test("Cloud Foundry's own kind, of archives: one supplies, the last finishes, and finds its cache again", async () => {
      const bed = open();
      server.commit('supplier', supplier);
      server.archive('supplier', 'supplier.tgz', 'supplier-1.0/');
      server.commit('finisher', finisher);
      server.archive('finisher', 'finisher.zip');
      const wanted = byUrl(server.url('supplier.tgz'), server.url('finisher.zip'));
      const { exported, output } = await bed.stage('classic', { 'a.txt': 'a' }, wanted);
      assert.match(output, /^build number 1$/m);
      assert.deepEqual(exported.buildpacks, [
        { name: 'classic/supplier', version: '' },
        { name: 'classic/finisher', version: '4.5.6' },
      ]);
      const page = (await bed.ask('classic')).body;
      assert.equal(page, 'supplied by 0\ncompiled\ncompiled\n/layers/classic_finisher/deps\n');
      assert.match((await bed.stage('classic', { 'a.txt': 'b' }, wanted)).output, /^build number 2$/m);
    });

    test('uploaded ones are tried in their order, and leave the source to others where they do not fit', async () => {
      const bed = open();
      const files = createBuildpackFiles(bed.registry.client);
      await files.store({ buildpack: 'one', file: bed.zip(textsOf(cloudNative())) });
      const older = {
        'bin/detect': '#!/bin/sh\n[ -f "$1/older.txt" ] && echo Older\n',
        'bin/compile': '#!/bin/sh\ncp "$1/older.txt" "$1/made.txt"\n',
        'bin/release': `#!/bin/sh\ncat <<'END'\ndefault_process_types: { web: '${serve('cat made.txt')}' }\nEND\n`,
      };
      await files.store({ buildpack: 'two', file: bed.zip(older) });
      const wanted: WantedBuildpacks = {
        chosen: false,
        groups: [
          [{ directory: 'two', name: 'older' }],
          [{ directory: 'one', name: 'echo' }],
          [{ id: 'sampan/staticfile' }],
        ],
      };
      const built = async (app: string, source: Record<string, string>) =>
        (await bed.stage(app, source, wanted)).exported.buildpacks[0]?.name;
      assert.equal(await built('uploaded-one', { 'echo.txt': 'hello' }), 'test/echo');
      assert.equal((await bed.ask('uploaded-one')).body, 'hello\n');
      assert.equal(await built('uploaded-two', { 'echo.txt': 'x', 'older.txt': 'old' }), 'classic/older');
      assert.equal((await bed.ask('uploaded-two')).body, 'old');
      assert.equal(await built('uploaded-none', { 'index.html': 'x' }), 'sampan/staticfile');
      await assert.rejects(files.store({ buildpack: 'bad', file: bed.zip({ 'readme.txt': 'x' }) }), {
        code: 'invalid-bits',
        message: /it has neither bin\/detect and bin\/build nor bin\/compile/,
      });
      await assert.rejects(files.store({ buildpack: 'bad', file: bed.zip({ '../bin/compile': 'x' }) }), {
        code: 'invalid-bits',
        message: /leads out of the app/,
      });
      await files.remove('two');
      await assert.rejects(bed.stage('uploaded-one', { a: 'x' }, wanted), /buildpack older is not in the registry/);
    });

    test('what cannot be used is told in a sentence', async () => {
      const bed = open();
      server.commit('newer', cloudNative('0.99'));
      server.commit('composite', { 'buildpack.toml': '[buildpack]\nid = "a/b"\n[[order]]\n' });
      server.commit('none', { 'readme.txt': 'hello' });
      server.file('broken.zip', Buffer.from('PK\u0003\u0004 and no more'));
      server.commit('fails', { 'bin/compile': program('echo a reason; exit 3') });
      const cases: [url: string, said: RegExp][] = [
        [server.url('newer'), /buildpack newer wants version 0\.99 of the buildpack API/],
        [server.url('composite'), /is made of others/],
        [server.url('none'), /buildpack none is no buildpack/],
        [server.url('gone'), /could not be fetched: .* is no git repository/],
        [server.url('gone.zip'), /could not be fetched: .*(404|410|500)/],
        [server.url('broken.zip'), /could not be fetched: it cannot be unpacked/],
        ['http://127.0.0.1:1/x.tgz', /could not be fetched: .*ECONNREFUSED/],
        [server.url('fails'), /a reason\nERROR: buildpack classic\/fails ended with 3/],
      ];
      for (const [url, said] of cases) {
        await assert.rejects(bed.stage('told', { a: 'x' }, byUrl(url)), (error: Error & { status?: number }) => {
          assert.match(error.message, said);
          assert.equal(error.status, 51, error.message);
          assert.doesNotMatch(error.message, /\n\s+at /);
          return true;
        });
      }
      const twice = byUrl(`${server.url('echo')}#v1`, server.url('echo'));
      await assert.rejects(bed.stage('told', { a: 'x' }, twice), /two of the buildpacks have the id test\/echo/);
    });
  });
}
