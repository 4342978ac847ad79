/** What is said to who asks for a version that cannot be had: one file for all languages. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { type Files, writeApp } from '#testing/sample-apps.ts';
import { parseModuleFile } from '../buildpacks/go/lib/module-file.ts';
import { askedGo, chooseGo, refusal } from '../buildpacks/go/lib/version.ts';
import { chooseJava } from '../buildpacks/java/lib/version.ts';
import { choosePhp } from '../buildpacks/php/lib/version.ts';
import { choosePython } from '../buildpacks/python/lib/version.ts';
import { chooseRuby } from '../buildpacks/ruby/lib/version.ts';
import { offersOf } from '../runtimes/catalogue.ts';

const root = mkdtempSync(join(tmpdir(), 'refused-'));
const before = process.cwd();
after(() => {
  process.chdir(before);
  rmSync(root, { recursive: true });
});

const OFFERS = offersOf({
  'python3.11': '3.11.2-6+deb12u6',
  'openjdk-17-jre-headless': '17.0.15+6-1',
  'ruby3.1': '3.1.2-7+deb12u1',
  'php8.2-fpm': '8.2.28-1~deb12u1',
  gcc: '4:12.2.0-3',
});
const GO = ['1.21.13', '1.22.12', '1.26.11', '1.27.4', '1.28rc1'];

/** What `choose` says in a directory with these files. */
function said(files: Files, choose: () => string): string {
  const directory = mkdtempSync(join(root, 'app-'));
  process.chdir(writeApp(directory, files));
  return `${Object.values(files).join().trim()}\n    ${choose()}\n`;
}

type Choice = { runtime: { name: string } } | { problem: string };

function outcome(choice: Choice): string {
  return 'problem' in choice ? choice.problem : choice.runtime.name;
}

const python = () => outcome(choosePython({}));
const java = () => outcome(chooseJava({}));
const php = () => outcome(choosePhp({}));
const ruby = () => outcome(chooseRuby({}));

function go(text: string): string {
  const asked = askedGo(parseModuleFile('go.mod', text), {});
  if (asked === undefined) return 'nothing is asked for';
  return chooseGo(asked, GO) ?? refusal(asked, GO);
}

test('versions that cannot be had', () => {
  process.env['SAMPAN_RUNTIMES'] = join(root, 'runtimes.json');
  writeFileSync(process.env['SAMPAN_RUNTIMES'], JSON.stringify(OFFERS));
  const lines = [
    said({ 'runtime.txt': 'python-3.11.x\n' }, python),
    said({ 'runtime.txt': 'python-2.7.18\n' }, python),
    said({ '.python-version': '3.11.4\n' }, python),
    said({ '.python-version': 'pypy3.9\n' }, python),
    said({ 'pyproject.toml': '[project]\nrequires-python = ">=3.12"\n' }, python),
    said({ 'pyproject.toml': '[tool.poetry.dependencies]\npython = "^3.9"\n' }, python),
    said({ '.java-version': '21\n' }, java),
    said({ '.sdkmanrc': 'java=17.0.9-tem\n' }, java),
    said({ 'system.properties': 'java.runtime.version=newest\n' }, java),
    said({ 'pom.xml': '<maven.compiler.release>11</maven.compiler.release>\n' }, java),
    said({ 'pom.xml': '<java.version>21</java.version>\n' }, java),
    said({ 'build.gradle': 'java.toolchain.languageVersion = JavaLanguageVersion.of(21)\n' }, java),
    said({ 'META-INF/MANIFEST.MF': 'Build-Jdk-Spec: 21\n' }, java),
    said({ '.ruby-version': 'ruby-3.1\n' }, ruby),
    said({ '.ruby-version': '3.3.0\n' }, ruby),
    said({ Gemfile: 'ruby "3.1"\n' }, ruby),
    said({ Gemfile: "ruby '~> 3.0', '>= 3.1.1'\n" }, ruby),
    ...['^8.1', '~8.1', '>=7.4 <8.3', '7.4.* | 8.*', '^7.4', '~8.1.0', '>=8.3'].map((range) =>
      said({ 'composer.json': `{"require": {"php": "${range}"}}\n` }, php),
    ),
    ...['go 1.22', 'go 1.23.4', 'go 1.29', 'toolchain go1.27.9', 'toolchain go1.28rc1'].map(
      (line) => `${line}\n    ${go(line)}\n`,
    ),
  ];
  matchesGolden(join(import.meta.dirname, '..', 'testdata', 'refused-versions.txt'), lines.join('\n'));
});
