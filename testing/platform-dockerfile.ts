/** Source with a Dockerfile, pushed to a running platform. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestPlatform, until } from './platform.ts';
import { writeApp } from './sample-apps.ts';

const SERVE =
  'mkdir /tmp/site; cp /site/* /tmp/site; id -u > /tmp/site/user; exec busybox httpd -f -p 3000 -h /tmp/site';

const FILES = {
  Dockerfile: `ARG SAMPAN_STACK
FROM $SAMPAN_STACK AS made
ARG GREETING
USER 0
RUN echo "$GREETING from $(id -u)" > /made
FROM $SAMPAN_STACK
COPY --from=made /made /site/
HEALTHCHECK CMD false
EXPOSE 3000
USER 1234
CMD ["bash", "-c", ${JSON.stringify(SERVE)}]
`,
  'other/Dockerfile': 'FROM scratch\nFORM x\n',
  'slow/Dockerfile': 'ARG SAMPAN_STACK\nFROM $SAMPAN_STACK\nRUN echo begun; sleep 1000\n',
  'manifest.yml': `applications:
- name: image
  memory: 64M
  disk_quota: 64M
  env: { GREETING: hello }
`,
};

const read = async (platform: TestPlatform, path: string) =>
  (await platform.ask(platform.host('image'), { path })).body;

export async function checkDockerfile(platform: TestPlatform): Promise<void> {
  const source = writeApp(join(platform.directory, 'with-dockerfile'), FILES);
  const push = ['push', 'image', '-p', source];
  const { code, stdout, stderr } = await platform.sampan(...push);
  assert.equal(code, 0, `${stdout}\n${stderr}\n${platform.logTail()}`);
  // A client that is slow may miss the last lines of a build; the log has them all.
  const told = /-----> Dockerfile Dockerfile[^]*Step 4\/11 : USER 0[^]*HEALTHCHECK is not used/;
  await until('what the build said', async () => told.test(await platform.must('logs', 'image', '--recent')), 60);
  assert.doesNotMatch(`${stdout}\n${stderr}`, /ERROR|not consumed/);
  await until('the app to answer', async () => (await read(platform, '/made')) === 'hello from 0\n', 60);
  assert.equal(await read(platform, '/user'), '1234\n');
  assert.match(await platform.must('app', 'image'), /buildpacks: +dockerfile/);
  await platform.must('delete', 'image', '-f', '-r');
}

/** Of an app that runs already. */
export async function checkBadDockerfiles(platform: TestPlatform): Promise<void> {
  const source = writeApp(join(platform.directory, 'with-dockerfile'), FILES);
  const push = ['push', 'image', '-p', source];
  await platform.must(...push);
  const bad = await platform.sampan(...push, '--dockerfile', 'other/Dockerfile');
  assert.match(`${bad.stdout}${bad.stderr}`, /line 2: unknown instruction: FORM/);
  assert.notEqual(bad.code, 0);
  assert.equal(await read(platform, '/user'), '1234\n', 'what ran before runs on');

  const slow = platform.start(...push, '--dockerfile', 'slow/Dockerfile');
  await until('the build to run', async () => /^ *begun$/m.test(slow.output()), 60);
  await slow.stop();
  const pods = async () => platform.mustKubectl('get', 'pods', '-A', '-l', 'platform.sampan.dev/build', '-o', 'name');
  const runs = async () => /sleep 1000/.test((await platform.docker('ps', '-a', '--no-trunc')).stdout);
  await until('nothing of it to run', async () => (await pods()) === '' && !(await runs()), 60);
  await platform.must('delete', 'image', '-f', '-r');
}
