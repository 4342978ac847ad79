/** Reads the result that the lifecycle wrote. It comes out of the build container: every field is checked and bounded. */
import {
  type BuildResult,
  type Component,
  type EnvironmentChange,
  type ResultLayer,
  type ResultProcess,
} from '../lifecycle/protocol.ts';
import { StagingError } from '../staging.ts';

/** Of the file. */
export const LARGEST_RESULT = 16 * 1024 * 1024;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const ID = /^[a-z0-9][a-z0-9.-]*(\/[a-z0-9][a-z0-9._-]*)?$/i;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const LINK_TARGET = /^[^\0\n]{1,1000}$/;
const PATH = /^\/(layers|workspace)\/[^\0\n]+$/;

export function parseBuildResult(text: string): BuildResult {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid('it is not JSON', error);
  }
  const result = record(value, 'result');
  return {
    runtimes: array(result['runtimes'], 'runtimes', 20).map((name) => matching(name, 'runtime', NAME)),
    buildpacks: array(result['buildpacks'], 'buildpacks', 50).map((item) => {
      const buildpack = record(item, 'buildpack');
      return {
        id: matching(buildpack['id'], 'buildpack id', ID),
        version: boundedText(buildpack['version'], 'buildpack version', 100),
        layers: array(buildpack['layers'], 'layers', 60).map(layer),
        ...componentList(buildpack['components']),
        ...(buildpack['store'] === undefined ? {} : { store: boundedText(buildpack['store'], 'store', 256 * 1024) }),
      };
    }),
    processes: array(result['processes'], 'processes', 100).map(processOf),
    workspaceUnchanged: boolean(result['workspaceUnchanged'], 'workspaceUnchanged'),
    workspaceLinks: array(result['workspaceLinks'], 'workspaceLinks', 20).map((item) => {
      const link = record(item, 'workspace link');
      return {
        name: matching(link['name'], 'workspace link', NAME),
        target: matching(link['target'], 'target of a workspace link', LINK_TARGET),
      };
    }),
    labels: array(result['labels'], 'labels', 100).map((item) => {
      const label = record(item, 'label');
      return {
        key: matching(label['key'], 'label key', NAME),
        value: boundedText(label['value'], 'label value', 4096),
      };
    }),
    ...(result['opened'] === undefined
      ? {}
      : { opened: array(result['opened'], 'opened', 500).map((path) => boundedText(path, 'opened file', 4096)) }),
  };
}

function layer(value: unknown): ResultLayer {
  const fields = record(value, 'layer');
  const content = fields['content'];
  if (content !== 'changed' && content !== 'kept' && content !== 'absent') throw invalid('layer content');
  return {
    name: matching(fields['name'], 'layer name', NAME),
    launch: boolean(fields['launch'], 'launch'),
    build: boolean(fields['build'], 'build'),
    cache: boolean(fields['cache'], 'cache'),
    metadata: boundedText(fields['metadata'], 'layer metadata', 256 * 1024),
    content,
    ...componentList(fields['components']),
    environment: array(fields['environment'], 'environment', 1000).map(change),
    profile: array(fields['profile'], 'profile', 100).map((path) => plainPath(path, 'profile.d script')),
    execD: array(fields['execD'], 'execD', 100).map((path) => plainPath(path, 'exec.d program')),
  };
}

function componentList(value: unknown): { components?: Component[] } {
  if (value === undefined) return {};
  return {
    components: array(value, 'components', 20_000).map((item) => {
      const fields = record(item, 'component');
      return {
        type: boundedText(fields['type'], 'component type', 100),
        name: boundedText(fields['name'], 'component name', 1000),
        ...(fields['version'] === undefined
          ? {}
          : { version: boundedText(fields['version'], 'component version', 1000) }),
        ...(fields['purl'] === undefined ? {} : { purl: boundedText(fields['purl'], 'component purl', 2000) }),
      };
    }),
  };
}

function change(value: unknown): EnvironmentChange {
  const fields = record(value, 'environment');
  const action = fields['action'];
  if (action !== 'override' && action !== 'default' && action !== 'append' && action !== 'prepend')
    throw invalid('environment action');
  return {
    name: matching(fields['name'], 'variable name', VARIABLE),
    action,
    value: boundedText(fields['value'], 'variable value', 128 * 1024),
    delimiter: boundedText(fields['delimiter'], 'delimiter', 100),
    ...(fields['process'] === undefined ? {} : { process: matching(fields['process'], 'process type', NAME) }),
  };
}

function processOf(value: unknown): ResultProcess {
  const fields = record(value, 'process');
  const command = array(fields['command'], 'command', 1000).map((item) => boundedText(item, 'command', 64 * 1024));
  if (command.length === 0) throw invalid('command is empty');
  return {
    type: matching(fields['type'], 'process type', NAME),
    command,
    args: array(fields['args'], 'args', 1000).map((item) => boundedText(item, 'argument', 64 * 1024)),
    default: boolean(fields['default'], 'default'),
    ...(fields['workingDirectory'] === undefined
      ? {}
      : { workingDirectory: boundedText(fields['workingDirectory'], 'working directory', 4096) }),
  };
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} is no object`);
  return value as Record<string, unknown>;
}

function array(value: unknown, what: string, most: number): unknown[] {
  if (!Array.isArray(value) || value.length > most) throw invalid(`${what} is no list of at most ${most}`);
  return value as unknown[];
}

function boundedText(value: unknown, what: string, most: number): string {
  if (typeof value !== 'string' || value.length > most || value.includes('\0'))
    throw invalid(`${what} is no text of at most ${most}`);
  return value;
}

function matching(value: unknown, what: string, pattern: RegExp): string {
  const found = boundedText(value, what, 1000);
  if (!pattern.test(found))
    throw invalid(`${what} ${JSON.stringify(found.slice(0, 100))} has characters that it may not have`);
  return found;
}

/** Space separates the paths in the launcher's lists. */
function plainPath(value: unknown, what: string): string {
  const path = matching(value, what, PATH);
  if (/[\s'"\\$`*?[]/.test(path) || path.includes('/../'))
    throw invalid(`${what} ${JSON.stringify(path)} has characters that it may not have`);
  return path;
}

function boolean(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw invalid(`${what} is not true or false`);
  return value;
}

function invalid(what: string, cause?: unknown): StagingError {
  return new StagingError(
    'build-failed',
    `the build's result cannot be used: ${what}`,
    cause === undefined ? {} : { cause },
  );
}
