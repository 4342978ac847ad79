/** `docker build` by the real client, without BuildKit. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Builder, builderOf } from '#testing/build-context.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let builder: Builder;
let image = '';

async function inspected(name: string, format: string): Promise<string> {
  return (await docker.ok('image', 'inspect', '-f', format, name)).trim();
}

/** Nothing of a build is left but images. */
async function nothingRuns(): Promise<void> {
  assert.equal(await docker.ok('ps', '-aq'), '');
  assert.deepEqual(docker.host.engine.sandboxes(), []);
}

describe('the docker client builds images', { ...withDocker, timeout: 300_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    builder = builderOf(docker);
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('a first build, the same again from the cache, and what the client is told', async () => {
    const files = {
      Dockerfile: `FROM ${image}\nENV GREETING=hello\nCOPY file /data/\nRUN echo "$GREETING" > /said && echo told\nCMD ["cat", "/said"]\n`,
      file: 'text',
    };
    const first = await builder.ok(files, '-t', 'first:1', '-t', 'first:2');
    assert.match(
      first,
      /^Step 1\/5 : FROM .*\n ---> [0-9a-f]{12}\nStep 2\/5 : ENV GREETING=hello\n ---> [0-9a-f]{12}\n/m,
    );
    assert.match(first, / ---> Running in [0-9a-f]{12}\ntold\nRemoving intermediate container [0-9a-f]{12}\n ---> /);
    assert.match(first, /Successfully built [0-9a-f]{12}\nSuccessfully tagged first:1\nSuccessfully tagged first:2\n$/);
    assert.doesNotMatch(first, /Using cache/);
    assert.equal(await docker.ok('run', '--rm', 'first:1'), 'hello\n');
    const again = await builder.ok(files, '-t', 'first:1');
    assert.equal(again.match(/Using cache/g)?.length, 4);
    assert.doesNotMatch(again, /Running in/);
    assert.equal(await inspected('first:1', '{{.Id}}'), await inspected('first:2', '{{.Id}}'));
    const changed = await builder.ok({ ...files, file: 'other' }, '-t', 'first:1');
    assert.equal(changed.match(/Using cache/g)?.length, 1);
    const uncached = await builder.ok(files, '--no-cache', '-t', 'first:1');
    assert.doesNotMatch(uncached, /Using cache/);
    await nothingRuns();
  });

  test('every instruction does what it says', async () => {
    const file = `
ARG BASE=${image}
FROM \${BASE} AS only
MAINTAINER somebody <a@b.c>
ARG version=1.0 unset
LABEL version="$version" "multi word"="a b" other=x
ENV A=1 B="two words" C=$version
ENV OLD style value
WORKDIR /work/$version
WORKDIR sub
COPY --chown=app:extra --chmod=640 one two/ ./
USER app
EXPOSE 80 8000-8002/udp
VOLUME /data /more
VOLUME ["/json"]
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=1m30s --timeout=2s --retries=4 CMD test -e /x
ONBUILD RUN echo triggered
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/echo", "entry"]
CMD one two
`;
    await builder.ok({ Dockerfile: file, one: '1', 'two/three': '3' }, '-t', 'all:1', '--label', "from=the 'client'");
    const config = JSON.parse(await inspected('all:1', '{{json .Config}}')) as Record<string, unknown>;
    assert.deepEqual(config['Labels'], { version: '1.0', 'multi word': 'a b', other: 'x', from: "the 'client'" });
    const env = config['Env'] as string[];
    for (const entry of ['A=1', 'B=two words', 'C=1.0', 'OLD=style value', 'PATH=/bin']) assert.ok(env.includes(entry));
    assert.equal(config['WorkingDir'], '/work/1.0/sub');
    assert.equal(config['User'], 'app');
    assert.deepEqual(Object.keys(config['ExposedPorts'] as object), ['80/tcp', '8000/udp', '8001/udp', '8002/udp']);
    assert.deepEqual(Object.keys(config['Volumes'] as object).sort(), ['/data', '/json', '/more']);
    assert.equal(config['StopSignal'], 'SIGUSR1');
    assert.deepEqual(config['Healthcheck'], {
      Test: ['CMD-SHELL', 'test -e /x'],
      Interval: 90e9,
      Timeout: 2e9,
      Retries: 4,
    });
    assert.deepEqual(config['OnBuild'], ['RUN echo triggered']);
    assert.deepEqual(config['Shell'], ['/bin/sh', '-ec']);
    assert.deepEqual(config['Entrypoint'], ['/bin/echo', 'entry']);
    assert.deepEqual(config['Cmd'], ['/bin/sh', '-ec', 'one two']);
    assert.equal(await inspected('all:1', '{{.Author}}'), 'somebody <a@b.c>');
    const listing = await docker.ok('run', '--rm', '--entrypoint', 'ls', 'all:1', '-l', '/work/1.0/sub');
    assert.match(listing, /-rw-r----- .*app +extra +1 .*one\n-rw-r----- .*app +extra +1 .*three\n/);
    assert.equal(await docker.ok('run', '--rm', 'all:1', 'said'), 'entry said\n');
    const history = await docker.ok('history', '--no-trunc', '--format', '{{.CreatedBy}}|{{.Size}}', 'all:1');
    assert.match(history, /^\/bin\/sh -ec #\(nop\) {2}LABEL from=the 'client'\|0B\n/);
    assert.match(history, /#\(nop\) COPY multi:[0-9a-f]{64} in \/work\/1\.0\/sub\/? \|\d+B\n/);
    const triggered = await builder.ok({ Dockerfile: 'FROM all:1\n' }, '-t', 'all:2');
    assert.match(triggered, /# Executing 1 build trigger\n ---> Running in \w+\ntriggered\n/);
    assert.equal(await inspected('all:2', '{{json .Config.OnBuild}}'), 'null');
  });

  test('stages: by name, by number, as a base, from an image; a target ends the build', async () => {
    const file = `
FROM ${image} AS Builder
RUN mkdir -p /out/deep && echo built > /out/deep/file && ln /out/deep/file /out/hard && ln -s deep/file /out/soft && chmod 4755 /out/hard
FROM builder AS tested
RUN grep built /out/deep/file
FROM ${image}
COPY --from=builder /out /copied
COPY --from=1 /out/deep/file /by-number
COPY --from=${image} /etc/passwd /etc/passwd-
RUN test -u /copied/hard && test "$(readlink /copied/soft)" = deep/file && test "$(stat -c %h /copied/hard)" = 2
`;
    const said = await builder.ok({ Dockerfile: file }, '-t', 'stages:1');
    assert.match(said, /Step 9\/9 : /);
    assert.equal(await docker.ok('run', '--rm', 'stages:1', 'cat', '/copied/soft', '/by-number'), 'built\nbuilt\n');
    const target = await builder.ok({ Dockerfile: file }, '--target', 'tested', '-t', 'stages:2');
    assert.match(target, /Step 4\/4 : RUN grep/);
    const missing = await builder.build({ Dockerfile: file }, '--target', 'none');
    assert.match(missing.stderr, /failed to reach build target none in Dockerfile/);
    const empty = await builder.ok({ Dockerfile: 'FROM scratch\nCOPY file /\n', file: 'x' }, '-t', 'stages:3');
    assert.match(empty, /Successfully built/);
    assert.deepEqual(JSON.parse(await inspected('stages:3', '{{json .RootFS.Layers}}')), [
      ...new Set(JSON.parse(await inspected('stages:3', '{{json .RootFS.Layers}}')) as string[]),
    ]);
    const listed = (await docker.ok('images', '-a', '--format', '{{.ID}}')).trim().split('\n');
    for (const [, step = ''] of said.matchAll(/ ---> ([0-9a-f]{12})\nStep [789]/g))
      assert.ok(!listed.includes(step), 'steps are in no list');
    assert.ok((await inspected(/ ---> ([0-9a-f]{12})\nStep 7/.exec(said)?.[1] ?? '', '{{.Id}}')).startsWith('sha256:'));
  });

  test('heredocs', async () => {
    const file = `FROM ${image}
ARG who=world
RUN <<EOF
set -e
echo first > /a
echo second >> /a
EOF
RUN cat <<-ONE > /b && cat <<'TWO' >> /b
	tabs go
	ONE
stay $who
TWO
RUN <<EOF
#!/bin/cat
itself
EOF
COPY <<greeting <<"raw" /made/
hello $who
greeting
hello $who
raw
CMD cat /a /b /made/greeting /made/raw
`;
    const said = await builder.ok({ Dockerfile: file }, '-t', 'here:1');
    assert.match(said, /#!\/bin\/cat\nitself\n/);
    const text = 'first\nsecond\ntabs go\nstay $who\nhello world\nhello $who\n';
    assert.equal(await docker.ok('run', '--rm', 'here:1'), text);
  });

  test('arguments: what is used counts, and what is not is told', async () => {
    const file = `FROM ${image}\nRUN echo before\nARG used=default\nRUN echo "used is $used"\n`;
    assert.match(await builder.ok({ Dockerfile: file }), /used is default/);
    const given = await builder.ok({ Dockerfile: file }, '--build-arg', 'used=given', '--build-arg', 'other=1');
    assert.match(given, /used is given/);
    assert.match(given, /\[Warning\] One or more build-args \[other\] were not consumed/);
    const again = await builder.ok(
      { Dockerfile: file },
      '--build-arg',
      'used=given',
      '--build-arg',
      'HTTP_PROXY=http://none',
    );
    assert.equal(again.match(/Using cache/g)?.length, 3, 'a proxy is nothing to the cache');
    const history = await docker.ok(
      'history',
      '--no-trunc',
      '--format',
      '{{.CreatedBy}}',
      again.match(/built (\w+)/)?.[1] ?? '',
    );
    assert.match(history, /^\|1 used=given \/bin\/sh -c echo "used is \$used"\n/);
  });

  test('a command that fails: its words, its status, and its container', async () => {
    const files = { Dockerfile: `FROM ${image}\nRUN echo out; echo err >&2; exit 7\n` };
    const said = await builder.build(files);
    assert.equal(said.code, 7);
    assert.match(said.stdout, /out\n/);
    assert.match(said.stdout + said.stderr, /err/);
    assert.match(said.stderr, /The command '\/bin\/sh -c echo out; echo err >&2; exit 7' returned a non-zero code: 7/);
    const left = (await docker.ok('ps', '-aq')).trim();
    assert.match(left, /^[0-9a-f]{12}$/, 'it can be looked at');
    assert.match(await docker.ok('logs', left), /out/);
    await docker.ok('rm', left);
    await builder.build(files, '--force-rm');
    await nothingRuns();
    const kept = await builder.ok({ Dockerfile: `FROM ${image}\nRUN echo kept > /kept\n` }, '--rm=false');
    assert.doesNotMatch(kept, /Removing/);
    const id = (await docker.ok('ps', '-aq')).trim();
    assert.match(await docker.ok('diff', id), /^A \/kept$/m);
    await docker.ok('rm', id);
    const missing = await builder.build({ Dockerfile: `FROM ${image}\nRUN ["/none"]\n` }, '--force-rm');
    assert.match(missing.stderr, /cannot be executed/);
    await nothingRuns();
  });

  test('mistakes are told with their line, before anything is done', async () => {
    const cases: [string, RegExp][] = [
      [`FROM ${image}\nFOO bar\n`, /dockerfile parse error on line 2: unknown instruction: FOO/],
      ['RUN true\n', /no build stage in current context/],
      [`FROM ${image}\nRUN --mount=type=cache,target=/x true\n`, /--mount option requires BuildKit/],
      [`FROM ${image}\nCOPY --parents a /\n`, /--parents option requires BuildKit/],
      [`FROM ${image}\nCOPY one\n`, /line 2: COPY requires at least two arguments/],
      [
        `FROM ${image}\nCOPY missing /\n`,
        /COPY failed: file not found in build context or excluded by .dockerignore: stat missing/,
      ],
      [`FROM ${image}\nCOPY ../out /\n`, /forbidden path outside the build context: \.\.\/out/],
      [
        `FROM ${image}\nCOPY a b /file\n`,
        /more than one source file, the destination must be a directory and end with a \//,
      ],
      [`FROM ${image}\nCOPY a /etc/passwd/x\n`, /"\/etc\/passwd" is not a directory/],
      [`FROM ${image}\nCOPY --chown=nobody9 a /\n`, /unable to convert uid\/gid chown string .*nobody9/],
      [`FROM ${image}\nENV x="a\n`, /failed to process .*looking for matching double-quote/],
      [`FROM ${image}\nRUN <<EOF\nno end\n`, /line 2: unterminated heredoc/],
      ['FROM fixtures.invalid/none:1\n', /has no manifest|not found|none/],
      ['FROM --platform=linux/s390x ' + image + '\nRUN true\n', /does not match the specified platform/],
    ];
    for (const [file, expected] of cases) {
      const said = await builder.build({ Dockerfile: file, a: '1', b: '2' }, '--force-rm');
      assert.notEqual(said.code, 0, file);
      assert.match(said.stderr, expected, file);
    }
    await nothingRuns();
  });

  test('quiet, iidfile, labels, no network, limits', async () => {
    const quiet = await builder.ok({ Dockerfile: `FROM ${image}\nRUN echo unheard\n` }, '-q', '--cache-from', image);
    assert.match(quiet, /^sha256:[0-9a-f]{64}\n$/);
    const loud = await builder.build({ Dockerfile: `FROM ${image}\nRUN echo heard; false\n` }, '-q', '--force-rm');
    assert.match(loud.stdout + loud.stderr, /heard/);
    const limited = `FROM ${image}
RUN --x=1 true
`;
    assert.match((await builder.build({ Dockerfile: limited })).stderr, /unknown flag: --x/);
    const file = `FROM ${image}
RUN ls /sys/class/net | tr '\\n' ' '; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; ulimit -n; df -k /dev/shm | tail -1; nproc; exit 0
`;
    const said = await builder.ok(
      { Dockerfile: file },
      '--network=none',
      '--memory=64m',
      '--memory-swap=64m',
      '--cpu-period=100000',
      '--cpu-quota=50000',
      '--cpu-shares=100',
      '--cpuset-cpus=0',
      '--shm-size=8m',
      '--ulimit=nofile=100:200',
    );
    assert.match(said, /\nlo 67108864\n100\n.* 8192 .*\n1\n/);
    const starved = await builder.build(
      { Dockerfile: `FROM ${image}\nRUN tail -c 200m /dev/zero > /dev/null\n` },
      '--memory=16m',
      '--memory-swap=16m',
      '--force-rm',
    );
    assert.equal(starved.code, 137, starved.stderr);
    const refused = await builder.build({ Dockerfile: file }, '--network=host');
    assert.match(refused.stderr, /networkmode: "host" is not supported for builds/);
    assert.match((await builder.build({ Dockerfile: file }, '--squash')).stderr, /experimental/);
  });

  test('what has no name goes with prune; steps go with builder prune', async () => {
    const file = `FROM ${image}\nRUN echo one > /one\n`;
    await builder.ok({ Dockerfile: file }, '-t', 'named:1');
    const before = await inspected('named:1', '{{.Id}}');
    await builder.ok({ Dockerfile: `${file}RUN echo two > /two\n` }, '-t', 'named:1');
    assert.match(await docker.ok('images', '-q', '--no-trunc', '-f', 'dangling=true'), new RegExp(before));
    assert.match(await docker.ok('image', 'prune', '-f'), new RegExp(`deleted: ${before}`));
    assert.match(await builder.ok({ Dockerfile: file }), /Using cache/, 'the step is remembered');
    await docker.reopen();
    assert.match(await builder.ok({ Dockerfile: file }), /Using cache/, 'also by the next engine');
    assert.match(await docker.ok('system', 'df'), /Build Cache +[1-9]\d* /);
    assert.match(await docker.ok('builder', 'prune', '-f', '-a'), /[0-9a-f]{64}/);
    assert.doesNotMatch(await builder.ok({ Dockerfile: file }), /Using cache/);
    await docker.ok('image', 'prune', '-f');
    assert.doesNotMatch(await docker.ok('images'), /<none>/);
    assert.match(await docker.ok('builder', 'prune', '-f'), /Total reclaimed space: /);
    assert.match(await docker.ok('system', 'df'), /Build Cache +0 /);
  });
});
