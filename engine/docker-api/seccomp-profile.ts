/**
 * A seccomp profile in Docker's form (`--security-opt seccomp=FILE`; the client sends the file's text), resolved for one
 * container: rules under conditions are taken or left by its capabilities, this architecture and this kernel. Pure.
 */
import type { SeccompArgument, SeccompProfile, SeccompRule } from '../engine.ts';
import { Fields, type Document } from './body.ts';
import { DockerError } from './errors.ts';

export interface ProfileSurroundings {
  /** Without `CAP_`. */
  capabilities: readonly string[];
  arch: NodeJS.Architecture;
  /** As uname(2) has it: `6.1.0-13-amd64`. */
  kernel: string;
}

const actions = 'ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP'
  .split(' ')
  .map((one) => `SCMP_ACT_${one}`);
const comparisons = 'EQ GE GT LE LT MASKED_EQ NE'.split(' ').map((one) => `SCMP_CMP_${one}`);
const mostRules = 2000;
const mostNames = 5000;

/** @throws DockerError 400, naming the field */
export function readSeccompProfile(text: string, where: ProfileSurroundings): SeccompProfile {
  const profile = new Fields(parse(text), 'seccomp');
  const defaultAction = actionOf(profile, 'defaultAction');
  const rules = profile.objects('syscalls');
  if (rules.length > mostRules) throw refuse(`seccomp.syscalls: ${rules.length} rules are more than ${mostRules}`);
  const syscalls = rules.flatMap((rule) => readRule(rule, where));
  const names = syscalls.reduce((sum, rule) => sum + rule.names.length, 0);
  if (names > mostNames) throw refuse(`seccomp.syscalls: ${names} names are more than ${mostNames}`);
  if (profile.text('listenerPath') !== '' || (profile.strings('flags') ?? []).length > 0)
    throw refuse('seccomp: listenerPath and flags are not supported');
  return {
    defaultAction,
    ...(profile.has('defaultErrnoRet') ? { defaultErrnoRet: profile.integer('defaultErrnoRet') } : {}),
    architectures: architectures(profile, where.arch),
    syscalls,
  };
}

function parse(text: string): Document {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse(`${(cause as Error).message.slice(0, 100)}`, cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Document;
  throw refuse('it is no JSON object');
}

function refuse(why: string, cause?: unknown): DockerError {
  return new DockerError(400, `Decoding seccomp profile failed: ${why}`, cause === undefined ? {} : { cause });
}

function actionOf(fields: Fields, field: string): string {
  const action = fields.text(field);
  if (actions.includes(action)) return action;
  throw refuse(`${fields.name(field)}: ${JSON.stringify(action)} is none of ${actions.join(', ')}`);
}

/** Given outright, or by a map from this machine's to those that it runs besides. */
function architectures(profile: Fields, arch: NodeJS.Architecture): string[] {
  const own = arch === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64';
  const given = profile.strings('architectures') ?? [];
  const map = profile.objects('archMap');
  if (given.length > 0 && map.length > 0)
    throw refuse(
      "'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  if (map.length === 0) return given.length > 0 ? given : [own];
  const entry = map.find((one) => one.text('architecture') === own);
  const others = entry?.strings('subArchitectures') ?? [];
  // The calls of x32 have numbers of their own, which nothing needs: stopped as a foreign architecture is.
  return [own, ...others.filter((name) => name !== 'SCMP_ARCH_X32')];
}

function readRule(rule: Fields, where: ProfileSurroundings): SeccompRule[] {
  const name = rule.text('name');
  const names = rule.strings('names') ?? [];
  if (name !== '' && names.length > 0)
    throw refuse("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
  const all = name === '' ? names : [name];
  for (const one of all)
    if (!/^[a-z0-9_]{1,64}$/.test(one)) throw refuse(`${rule.name('names')}: ${JSON.stringify(one)} is no system call`);
  const action = actionOf(rule, 'action');
  const args = rule.objects('args').map((argument) => readArgument(argument));
  const resolved: SeccompRule = {
    names: all,
    action,
    ...(rule.has('errnoRet') ? { errnoRet: rule.integer('errnoRet') } : {}),
    ...(args.length === 0 ? {} : { args }),
  };
  return all.length > 0 && applies(rule, where) ? [resolved] : [];
}

function readArgument(argument: Fields): SeccompArgument {
  const op = argument.text('op');
  if (!comparisons.includes(op))
    throw refuse(`${argument.name('op')}: ${JSON.stringify(op)} is none of ${comparisons.join(', ')}`);
  const index = argument.integer('index');
  if (index < 0 || index > 5) throw refuse(`${argument.name('index')}: ${index} is none of 0 to 5`);
  const [value, valueTwo] = [argument.integer('value'), argument.integer('valueTwo')];
  if (value < 0 || valueTwo < 0) throw refuse(`${argument.name('value')}: it is negative`);
  return { index, value, ...(valueTwo === 0 && op !== 'SCMP_CMP_MASKED_EQ' ? {} : { valueTwo }), op };
}

function applies(rule: Fields, where: ProfileSurroundings): boolean {
  const architecture = where.arch === 'arm64' ? 'arm64' : 'amd64';
  const has = (name: string): boolean => where.capabilities.includes(name.replace(/^CAP_/, ''));
  const includes = rule.object('includes');
  const excludes = rule.object('excludes');
  const includedArches = includes.strings('arches') ?? [];
  if (includedArches.length > 0 && !includedArches.includes(architecture)) return false;
  if ((excludes.strings('arches') ?? []).includes(architecture)) return false;
  if (!(includes.strings('caps') ?? []).every(has)) return false;
  if ((excludes.strings('caps') ?? []).some(has)) return false;
  if (includes.has('minKernel') && !reaches(where.kernel, includes)) return false;
  return !(excludes.has('minKernel') && reaches(where.kernel, excludes));
}

function reaches(kernel: string, filter: Fields): boolean {
  const wanted = filter.text('minKernel');
  const parts = /^(\d{1,4})\.(\d{1,4})/.exec(wanted);
  if (parts === null) throw refuse(`${filter.name('minKernel')}: ${JSON.stringify(wanted)} is no version such as 4.8`);
  const [major = 0, minor = 0] = kernel.split('.', 2).map((part) => Number.parseInt(part, 10));
  return major > Number(parts[1]) || (major === Number(parts[1]) && minor >= Number(parts[2]));
}
