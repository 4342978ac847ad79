import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { after, test } from 'node:test';
import { writeApp } from '#testing/sample-apps.ts';
import { hostileZip, type TestEntry } from '../../../bits/zip.testing.ts';
import { javaTrustStore } from '../../../lifecycle/java-trust-store.ts';
import { unpackedApplication } from './application.ts';
import { artifactsIn, builtArtifact } from './artifacts.ts';
import { libraryOf } from './components.ts';
import { parseManifest, readJar } from './jar.ts';
import { mavenSettings, proxyProperties } from './settings.ts';
import { unreachableGradle } from './tools.ts';
import { askedByGradle, askedByMaven, askedJava } from './version.ts';

const root = mkdtempSync(join(tmpdir(), 'java-'));
after(() => rmSync(root, { recursive: true }));

function jarAt(path: string, entries: readonly TestEntry[]): string {
  mkdirSync(join(root, path, '..'), { recursive: true });
  renameSync(hostileZip(root, entries), join(root, path));
  return join(root, path);
}

const MANIFEST = { name: 'META-INF/MANIFEST.MF', content: 'Main-Class: a.B\n', deflate: true };

test('versions as Maven and Gradle projects name them', () => {
  const maven = (text: string) => askedByMaven(text)?.major;
  assert.equal(maven('<properties><java.version>21</java.version></properties>'), 21);
  assert.equal(maven('<maven.compiler.source>1.8</maven.compiler.source>'), 8);
  assert.equal(maven('<maven.compiler.release>11</maven.compiler.release><java.version>17</java.version>'), 11);
  assert.equal(
    maven('<maven.compiler.release>${java.version}</maven.compiler.release><java.version>17</java.version>'),
    17,
  );
  assert.equal(maven('<project/>'), undefined);
  const gradle = (text: string) => askedByGradle(text);
  assert.deepEqual(gradle('java { toolchain { languageVersion = JavaLanguageVersion.of(21) } }'), {
    where: 'build.gradle: toolchain',
    specifier: '21',
    major: 21,
    kind: 'exact',
  });
  assert.equal(gradle("sourceCompatibility = '17'")?.major, 17);
  assert.equal(gradle('sourceCompatibility = JavaVersion.VERSION_1_8')?.major, 8);
  assert.equal(gradle('kotlin { jvmToolchain(17) }')?.major, 17);
  const asked = (version: string) => askedJava({ BP_JVM_VERSION: version })?.major;
  for (const version of ['17', '17.*', '17.0.9-tem', 'temurin-17.0.9']) assert.equal(asked(version), 17, version);
  assert.equal(asked('1.8.0_372'), 8);
  assert.equal(asked('newest'), undefined);
  assert.equal(askedJava({ BP_JVM_VERSION: 'newest' })?.specifier, 'newest');
  assert.equal(askedJava({ JBP_CONFIG_OPEN_JDK_JRE: '{ jre: { version: 11.+ } }' })?.major, 11);
});

test('a manifest in lines that go on', () => {
  const manifest = parseManifest(
    'Manifest-Version: 1.0\r\nMain-Class: org.example.a.very.lo\r\n ng.Name\r\n\r\nName: x\r\nA: b\r\n',
  );
  assert.deepEqual(
    [...manifest],
    [
      ['Manifest-Version', '1.0'],
      ['Main-Class', 'org.example.a.very.long.Name'],
    ],
  );
});

test('jars: with much in them, behind a script, damaged, none', () => {
  const stored = { name: 'BOOT-INF/lib/a.jar', content: 'x' };
  assert.deepEqual(readJar(jarAt('plain.jar', [MANIFEST, stored])).names, [MANIFEST.name, stored.name]);
  const script = Buffer.concat([Buffer.from('#!/bin/sh\nexit\n'), readFileSync(join(root, 'plain.jar'))]);
  writeFileSync(join(root, 'script.jar'), script);
  const behind = readJar(join(root, 'script.jar'), /\.jar$/);
  assert.equal(behind.manifest.get('Main-Class'), 'a.B');
  assert.deepEqual([...behind.texts], [[stored.name, 'x']]);
  const many = Array.from({ length: 70_000 }, (_, index) => ({ name: `c/${index}.class` }));
  const large = readJar(jarAt('large.jar', [MANIFEST, ...many]));
  assert.equal(large.names.length, 70_001);
  assert.equal(large.manifest.get('Main-Class'), 'a.B');
  writeFileSync(join(root, 'none.jar'), 'PK');
  assert.deepEqual(readJar(join(root, 'none.jar')).names, []);
  const damaged = readFileSync(join(root, 'plain.jar')).fill(0xff, 50, 62);
  writeFileSync(join(root, 'damaged.jar'), damaged);
  assert.throws(() => readJar(join(root, 'damaged.jar')), /damaged\.jar is damaged: /);
});

test('which file is started', () => {
  const project = join(root, 'project');
  const outputs = {
    own: join(project, 'target'),
    modules: [join(project, 'web/target')],
    variable: 'BP_MAVEN_BUILT_ARTIFACT',
  };
  const built = () => builtArtifact(project, outputs).slice(project.length + 1);
  assert.throws(built, /made nothing that can be started/);
  jarAt('project/web/target/web.jar', [MANIFEST]);
  assert.equal(built(), 'web/target/web.jar');
  jarAt('project/target/library.jar', [{ name: 'a.class' }]);
  jarAt('project/target/shop-plain.jar', [MANIFEST]);
  assert.equal(built(), 'web/target/web.jar');
  jarAt('project/target/shop.jar', [MANIFEST]);
  assert.equal(built(), 'target/shop.jar');
  jarAt('project/target/tool.jar', [MANIFEST]);
  assert.throws(built, /several that can be started \(shop\.jar, tool\.jar\): BP_MAVEN_BUILT_ARTIFACT names the one/);
  process.env['BP_MAVEN_BUILT_ARTIFACT'] = 'target/to*.jar';
  assert.equal(built(), 'target/tool.jar');
  process.env['BP_MAVEN_BUILT_ARTIFACT'] = 'target/x.jar';
  assert.throws(built, /BP_MAVEN_BUILT_ARTIFACT "target\/x\.jar": the build made no such file/);
  delete process.env['BP_MAVEN_BUILT_ARTIFACT'];
  jarAt('project/target/quarkus-app/quarkus-run.jar', [MANIFEST]);
  assert.equal(built(), 'target/quarkus-app/quarkus-run.jar');
  assert.deepEqual(artifactsIn(join(root, 'nowhere')), []);
});

test('what the client unpacked', () => {
  const unpacked = (name: string, files: Record<string, string>) =>
    unpackedApplication(writeApp(join(root, name), files));
  const jar = { 'META-INF/MANIFEST.MF': 'Main-Class: a.B\r\n', 'a/B.class': '', 'a/C.class': '' };
  const directory = join(root, 'jar');
  assert.deepEqual(unpacked('jar', jar), { start: `-cp ${directory} a.B`, directory, classes: 2 });
  assert.deepEqual(unpacked('war', { 'WEB-INF/web.xml': '' }), { directory: join(root, 'war'), classes: 0 });
  assert.equal(unpacked('library', { 'META-INF/MANIFEST.MF': 'Created-By: x\n' }), undefined);
});

test('libraries by their coordinates, or by their names', () => {
  const pom = 'artifactId=spring-core\r\ngroupId=org.springframework\r\nversion=6.2.1\r\n';
  assert.equal(libraryOf('a.jar', [pom]).purl, 'pkg:maven/org.springframework/spring-core@6.2.1');
  assert.deepEqual(libraryOf('jackson-core-2.19.1.jar', [pom, pom]), {
    type: 'library',
    name: 'jackson-core',
    version: '2.19.1',
  });
  assert.deepEqual(libraryOf('own.jar', []), { type: 'library', name: 'own' });
});

/** What the script makes of a container. */
function options(memory: string, extra: Record<string, string> = {}): Record<string, string> {
  const script = join(import.meta.dirname, 'jvm.sh');
  const done = spawnSync('bash', ['--norc', '-c', `. <(sed s/@CLASSES@/30000/ ${script}); echo "$JAVA_TOOL_OPTIONS"`], {
    env: { PATH: process.env['PATH'], MEMORY_LIMIT: memory, ...extra },
    encoding: 'utf8',
  });
  if (done.status !== 0) return { error: done.stderr.trim() };
  const found = [...done.stdout.matchAll(/-(?:XX:)?(Xmx|MaxMetaspaceSize|ReservedCodeCacheSize)=?(\d+M)/g)];
  return Object.fromEntries(found.map(([, name = '', size = '']) => [name, size]));
}

test('heap, metaspace and code cache fit the container', () => {
  assert.deepEqual(options('1024m'), { Xmx: '450M', MaxMetaspaceSize: '74M', ReservedCodeCacheSize: '240M' });
  assert.deepEqual(options('1G'), options('1024m'));
  assert.deepEqual(options('512m'), { Xmx: '208M', MaxMetaspaceSize: '74M', ReservedCodeCacheSize: '120M' });
  assert.deepEqual(options('256m'), { Xmx: '104M', MaxMetaspaceSize: '74M', ReservedCodeCacheSize: '48M' });
  assert.deepEqual(options('128m'), { error: 'Java does not fit into 128 MB: 168 MB are the least (cf scale -m)' });
  assert.equal(options('1024m', { BPL_JVM_THREAD_COUNT: '50' })['Xmx'], '650M');
  assert.equal(options('256m', { BPL_JVM_THREAD_COUNT: '10' })['Xmx'], '98M');
  assert.equal(options('1024m', { BPL_JVM_HEAD_ROOM: '10' })['Xmx'], '348M');
});

test('frameworks hear on the port of the platform, unless they are told otherwise', () => {
  const script = join(import.meta.dirname, 'jvm.sh');
  const ports = (env: Record<string, string>) =>
    spawnSync('bash', ['--norc', '-c', `. ${script}; echo "$SERVER_PORT $QUARKUS_HTTP_PORT"`], {
      env,
      encoding: 'utf8',
    });
  const base = { PATH: process.env['PATH'] ?? '', MEMORY_LIMIT: '0m' };
  assert.equal(ports({ ...base, PORT: '8080', SERVER_PORT: '9000' }).stdout, '9000 8080\n');
  assert.equal(ports(base).stdout, ' \n');
});

test('proxies and mirrors for Java', () => {
  const environment = { https_proxy: 'http://proxy.example:3128', no_proxy: 'localhost,.example.org' };
  assert.deepEqual(proxyProperties(environment), [
    '-Dhttps.proxyHost=proxy.example',
    '-Dhttps.proxyPort=3128',
    '-Dhttp.nonProxyHosts=localhost|127.*|localhost|*.example.org',
  ]);
  assert.deepEqual(proxyProperties({}), []);
  const settings = mavenSettings({ ...environment, MAVEN_MIRROR_URL: 'https://mirror.example/a?b&c' });
  assert.match(settings, /<protocol>https<\/protocol><host>proxy\.example<\/host><port>3128<\/port>/);
  assert.match(settings, /<mirrorOf>external:\*<\/mirrorOf><url>https:\/\/mirror\.example\/a\?b&amp;c<\/url>/);
  assert.equal(mavenSettings({}), '<settings>\n</settings>\n');
});

test('a Gradle that cannot be fetched is told with its address', () => {
  const output =
    'Downloading https://services.example/gradle.zip\nException in thread "main" java.net.UnknownHostException: services.example\n';
  assert.match(
    unreachableGradle(output, 'https\\://services.example/gradle.zip')?.message ?? '',
    /from https:\/\/services\.example\/gradle\.zip \(UnknownHostException\)/,
  );
  assert.equal(unreachableGradle('BUILD FAILED: UnknownHostException'), undefined);
});

test("authorities as Java's store has them", () => {
  const bundle = rootCertificates.slice(0, 3).join('\n');
  const store = javaTrustStore(bundle);
  assert.deepEqual([store.readUInt32BE(0), store.readUInt32BE(4), store.readUInt32BE(8)], [0xfeedfeed, 2, 3]);
  assert.deepEqual(javaTrustStore(`${bundle}\n# twice\n${bundle}`), store);
});
