/** Java through the real runtimes and buildpacks, with dependencies from Maven's central repository. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createGunzip } from 'node:zlib';
import { safeName } from '#lib/tar/names.ts';
import { readTar } from '#lib/tar/read.ts';
import { example, filesBelow, refuses } from '#testing/language-apps.ts';
import { openStagingBed, type StagingBed } from '#testing/staging-bed.ts';
import { appRepository } from './bits/package-image.ts';

let bench: StagingBed;

before(async () => {
  bench = await openStagingBed();
});

after(() => bench[Symbol.asyncDispose]());

test('Java, Maven: Spring Boot with its libraries in a layer of their own, in the memory that it has', async () => {
  const files = example('java-spring');
  const first = await bench.stage('spring', files);
  assert.match(first.output, /pom\.xml: java\.version 17: Java \d+/);
  assert.match(
    first.exported.processTypes['web'] ?? '',
    /^exec java \$JAVA_OPTS -cp \/layers\/sampan_java\/app\/content org\.spring/,
  );
  const purls = first.exported.components.map(({ purl }) => purl ?? '');
  assert.ok(
    purls.some((purl) => purl.startsWith('pkg:maven/org.slf4j/slf4j-api@')),
    purls.join(),
  );
  assert.ok(!purls.some((purl) => /jdk-headless|maven\/apache-maven/.test(purl)), 'the app has the JRE alone');
  const limit = { MEMORY_LIMIT: '512m' };
  assert.match((await bench.ask('spring', '/', [], limit)).body, /^Hello from Java \d+!/);
  const { heapMb } = JSON.parse((await bench.ask('spring', '/memory', [], limit)).body) as { heapMb: number };
  assert.ok(heapMb > 100 && heapMb < 300, `${heapMb} MB of heap`);
  await assert.rejects(bench.ask('spring', '/', [], { MEMORY_LIMIT: '64m' }), /Java does not fit into 64 MB: \d+ MB/);
  const source = 'src/main/java/com/example/hello/Application.java';
  const text = (files[source] ?? '').replace('Hello from', 'Greetings from');
  const changed = { ...files, [source]: text, mvnw: '#!/bin/sh\nexec mvn "$@"\n' };
  const second = await bench.stage('spring', changed);
  assert.match(second.output, /Maven \(mvnw\)/);
  assert.match(second.output, /taking the downloads of the last build/);
  assert.ok(!second.stored.some((line) => /dependencies|maven/.test(line)), second.stored.join());
  assert.match((await bench.ask('spring', '/', [], limit)).body, /^Greetings/);
  assert.deepEqual(second.exported.components, first.exported.components);
});

const SERVER = `package com.example;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class Main {
  public static void main(String[] args) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", exchange -> {
      byte[] body = (System.getProperty("words", "none") + " " + System.getenv("JAVA_HOME")).getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
`;

/** What a build with Gradle does, by the JDK alone: Gradle itself comes from an address that not every network reaches. */
const GRADLEW = `#!/bin/sh
set -eu
[ "$*" = "--no-daemon --console=plain assemble" ]
[ -d "$GRADLE_USER_HOME" ]
mkdir -p build/libs build/classes
"$JAVA_HOME/bin/javac" -d build/classes src/main/java/com/example/Main.java
printf 'Main-Class: com.example.Main\\n' >build/manifest
"$JAVA_HOME/bin/jar" --create --file build/libs/shop.jar --manifest build/manifest -C build/classes .
`;

test("Java, a project's own wrapper, a jar, one that the client unpacked", async () => {
  const project = { 'build.gradle': '', 'src/main/java/com/example/Main.java': SERVER, gradlew: GRADLEW };
  const first = await bench.stage('gradle', project);
  assert.match(first.output, /Gradle \(gradlew\)/);
  assert.equal(
    first.exported.processTypes['web'],
    'exec java $JAVA_OPTS -jar /layers/sampan_java/app/content/shop.jar',
  );
  const options = { MEMORY_LIMIT: '512m', JAVA_OPTS: '-Dwords=said' };
  assert.match((await bench.ask('gradle', '/', [], options)).body, /^said \/usr\/lib\/jvm\/java-\d+-openjdk-/);
  const jar = await fileOf(first.exported.manifest, 'layers/sampan_java/app/content/shop.jar');
  const alone = await bench.stage('jar', { 'shop.jar': jar, 'notes.txt': 'x' });
  assert.equal(alone.exported.processTypes['web'], 'exec java $JAVA_OPTS -jar /workspace/shop.jar');
  assert.match((await bench.ask('jar', '/', [], options)).body, /^said/);
  const unpacked = await bench.stage('unpacked', unzipped(jar));
  assert.equal(unpacked.exported.processTypes['web'], 'exec java $JAVA_OPTS -cp /workspace com.example.Main');
  assert.match((await bench.ask('unpacked', '/', [], { MEMORY_LIMIT: '512m' })).body, /^none/);
});

/** Out of the layers of an image. */
async function fileOf(manifest: Buffer, path: string): Promise<Buffer> {
  const { layers } = JSON.parse(manifest.toString()) as { layers: { digest: string; mediaType: string }[] };
  for (const { digest, mediaType } of layers.toReversed()) {
    const blob = await bench.registry.client.readBlob(appRepository('gradle'), digest);
    assert.ok(blob);
    for await (const entry of readTar(mediaType.endsWith('gzip') ? blob.pipe(createGunzip()) : blob))
      if (safeName(entry.name) === path) return Buffer.concat(await Array.fromAsync(entry.data()));
  }
  throw new Error(`no layer has ${path}`);
}

function unzipped(archive: Buffer): Record<string, Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'unzipped-'));
  writeFileSync(join(directory, 'archive'), archive);
  execFileSync('busybox', ['unzip', '-q', '-d', join(directory, 'files'), join(directory, 'archive')]);
  const files = filesBelow(join(directory, 'files'));
  rmSync(directory, { recursive: true });
  return files;
}

test('Java: wars in Tomcat, and what cannot be had', async () => {
  const war = {
    'WEB-INF/web.xml': '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0"/>',
    'index.jsp': '<%= 6 * 7 %> in <%= System.getProperty("java.specification.version") %> <%= request.getScheme() %>',
    'style.css': 'a{}',
    'index.html': 'not by itself',
  };
  const first = await bench.stage('war', war);
  assert.match(first.output, /Tomcat \d+/);
  const limit = { MEMORY_LIMIT: '512m' };
  assert.match((await bench.ask('war', '/index.jsp', [], limit)).body, /^42 in \d+ http$/);
  assert.match(String((await bench.ask('war', '/style.css', [], limit)).headers['content-type']), /text\/css/);
  assert.equal((await bench.ask('war', '/WEB-INF/web.xml', [], limit)).status, 404);
  assert.deepEqual((await bench.stage('war', war)).exported.digest, first.exported.digest);
  const library = readFileSync(bench.zip({ 'a.txt': 'x' }));
  const file = readFileSync(bench.zip({ ...war, 'WEB-INF/lib/words-1.0.jar': library }));
  const packed = await bench.stage('packed', { 'shop.war': file });
  assert.ok(packed.stored.includes('storing layer sampan/java:dependencies'), packed.stored.join());
  assert.ok(packed.exported.components.some(({ name, version }) => name === 'words' && version === '1.0'));
  assert.match((await bench.ask('packed', '/index.jsp', [], limit)).body, /^42 in/);
  await refuses(
    bench,
    'java-refused',
    { 'pom.xml': '<project/>', '.java-version': '99\n' },
    /\.java-version asks for Java "99", which cannot be had; there is Java \d+/,
  );
  await refuses(bench, 'java-refused', { 'build.gradle': '' }, /there is no gradlew/);
  await refuses(bench, 'java-refused', { 'META-INF/MANIFEST.MF': 'Created-By: x\n' }, /names no Main-Class/);
});
