/** bin/build of the go buildpack: toolchain, modules, programs in a layer of their own. The source stays as it was pushed. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { splitArguments } from '../../../lifecycle/arguments.ts';
import {
  buildProgram,
  declareLayer,
  keyOf,
  type LaunchProcess,
  layerMetadata,
  runCommand,
  scratchHome,
  writeBill,
  writeProcesses,
} from '../../../lifecycle/program.ts';
import { AppError, detail, step } from '../../../lifecycle/words.ts';
import { goComponents } from './components.ts';
import { parseModuleFile } from './module-file.ts';
import { defaultTargets, type MainPackage, namedTargets, processesOf } from './targets.ts';
import { provideToolchain, type Toolchain } from './toolchain.ts';
import { askedGo } from './version.ts';

interface Go {
  program: string;
  variables: Record<string, string | undefined>;
  /** Of `go build`, and of `go list` so that it sees the same files. */
  flags: string[];
}

/** Downloaded modules, and what was compiled of them and of the standard library. */
const CACHES = ['modules', 'compiled'];

await buildProgram(async (layers) => {
  const file = ['go.work', 'go.mod'].find((name) => existsSync(name));
  if (file === undefined) {
    throw new AppError('there is no go.mod: run "go mod init" and "go mod tidy", and push go.mod and go.sum');
  }
  step('Toolchain');
  const asked = askedGo(parseModuleFile(file, readFileSync(file, 'utf8')), process.env);
  const toolchain = await provideToolchain(layers, asked);
  const go = openGo(toolchain, layers);
  step(existsSync('vendor/modules.txt') ? 'Modules (vendored)' : 'Modules');
  const key = cacheKey(toolchain, go);
  prepareCaches(layers, key);
  const { targets, processes } = findTargets(go);
  step(`Programs (go build ${targets.join(' ')})`);
  await buildTargets(go, targets, layers);
  for (const name of CACHES) declareLayer(layers, name, { cache: true }, { key });
  declareLayer(layers, 'targets', { launch: true }, {});
  writeProcesses(layers, processes);
});

function openGo(toolchain: Toolchain, layers: string): Go {
  const home = scratchHome();
  const variables = {
    // Without cgo programs are static, and no C compiler has to come.
    CGO_ENABLED: '0',
    ...process.env,
    HOME: home,
    PATH: `${join(toolchain.directory, 'bin')}:${process.env['PATH']}`,
    GOPATH: join(home, 'go'),
    GOMODCACHE: join(layers, 'modules'),
    GOCACHE: join(layers, 'compiled'),
    GOTOOLCHAIN: 'local',
    // Modules that cannot be written could not be removed either.
    GOFLAGS: `${process.env['GOFLAGS'] ?? ''} -modcacherw`.trim(),
  };
  return { program: join(toolchain.directory, 'bin', 'go'), variables, flags: buildFlags() };
}

/** Paketo's and Cloud Foundry's variables. */
function buildFlags(): string[] {
  const words = splitArguments(process.env['BP_GO_BUILD_FLAGS'] ?? '', 'BP_GO_BUILD_FLAGS');
  const { BP_GO_BUILD_LDFLAGS: linker, GO_LINKER_SYMBOL: symbol, GO_LINKER_VALUE: value } = process.env;
  const set = symbol !== undefined && value !== undefined ? `-X ${symbol}=${value}` : undefined;
  const all = [linker, set].filter((part) => part !== undefined && part !== '');
  return all.length === 0 ? words : [...words, `-ldflags=${all.join(' ')}`];
}

function cacheKey(toolchain: Toolchain, { variables, flags }: Go): string {
  const facts = [1, toolchain.version, process.arch, variables['CGO_ENABLED'], variables['GOFLAGS'], flags];
  return keyOf(facts, ['go.mod', 'go.sum', 'go.work', 'go.work.sum', 'vendor/modules.txt']);
}

/** They fit as long as the dependencies are the same; else they begin empty, and do not grow for ever. */
function prepareCaches(layers: string, key: string): void {
  const fit = CACHES.every((name) => layerMetadata(layers, name)?.['key'] === key);
  if (fit) detail('unchanged: taking those of the last build');
  for (const name of CACHES) {
    if (!fit) rmSync(join(layers, name), { recursive: true, force: true });
    mkdirSync(join(layers, name), { recursive: true });
  }
}

function findTargets(go: Go): { targets: string[]; processes: LaunchProcess[] } {
  const named = namedTargets(process.env);
  const targets = named.length > 0 ? named : defaultTargets(mainPackages(go, everything(go)));
  if (targets.length === 0) {
    throw new AppError('there is no program in this module: no package is "main"; BP_GO_TARGETS names those to build');
  }
  const programs = mainPackages(go, targets);
  if (programs.length === 0) throw new AppError(`${targets.join(' ')}: there is no program: no package "main"`);
  return { targets, processes: processesOf(programs) };
}

/** Patterns of all packages: of this module, or of each that go.work names. */
function everything(go: Go): string[] {
  if (!existsSync('go.work')) return ['./...'];
  return lines(go, ['list', '-m', '-f', '{{.Dir}}/...']);
}

function mainPackages(go: Go, packages: readonly string[]): MainPackage[] {
  const format = '{{if eq .Name "main"}}{{.ImportPath}} {{.Dir}}{{end}}';
  return lines(go, ['list', '-e', ...go.flags, '-f', format, ...packages]).map((line) => {
    const [importPath = '', directory = ''] = line.split(' ');
    const relative = directory.slice(process.cwd().length);
    return { importPath, path: relative === '' ? '.' : `.${relative}` };
  });
}

function lines({ program, variables }: Go, args: readonly string[]): string[] {
  try {
    const output = execFileSync(program, args, {
      env: variables,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return output.split('\n').filter((line) => line !== '');
  } catch {
    throw new AppError(`the command above failed (go ${args[0]})`);
  }
}

async function buildTargets(go: Go, targets: readonly string[], layers: string): Promise<void> {
  const directory = join(layers, 'targets', 'bin');
  rmSync(join(layers, 'targets'), { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await runCommand(go.program, ['build', '-trimpath', ...go.flags, '-o', `${directory}/`, ...targets], {
    environment: go.variables,
    shown: `go build ${targets.join(' ')}`,
  });
  writeBill(layers, 'targets', goComponents(lines(go, ['version', '-m', directory]).join('\n')));
}
