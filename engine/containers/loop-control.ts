/**
 * A loop device is taken from its file by whoever has it open: `LOOP_CLR_FD` (ioctl(2)) asks for no capability. A container that has the
 * node of one (a disk volume of the kind `block`) would then meet behind it whatever file of this host gets the number next. So no
 * container may control loop devices, whatever its profile says: an open one may have come to it from another container too.
 */
import type { SeccompArgument, SeccompProfile, SeccompRule } from '../engine.ts';

/** The family of linux/loop.h: the second byte of the number of the request, which is ioctl's second argument. */
const FAMILY = 0x4c;
const REQUEST = 1;
const EPERM = 1;
const DENYING = /^SCMP_ACT_(ERRNO|KILL|KILL_PROCESS|KILL_THREAD|TRAP)$/;

/** Requests of every other family: each differs from this one in one bit at least. */
const others: SeccompArgument[] = Array.from({ length: 8 }, (_, place) => {
  const bit = 1 << place;
  return { index: REQUEST, value: bit << 8, valueTwo: (~FAMILY & bit) << 8, op: 'SCMP_CMP_MASKED_EQ' };
});

export function withoutLoopControl(profile: SeccompProfile): SeccompProfile {
  const rules = profile.syscalls.flatMap((rule) => (lets(rule) ? restricted(rule) : [rule]));
  if (DENYING.test(profile.defaultAction)) return { ...profile, syscalls: rules };
  const family = { index: REQUEST, value: 0xff00, valueTwo: FAMILY << 8, op: 'SCMP_CMP_MASKED_EQ' };
  const refusal = { names: ['ioctl'], action: 'SCMP_ACT_ERRNO', errnoRet: EPERM, args: [family] };
  return { ...profile, syscalls: [...rules, refusal] };
}

function lets({ names, action }: SeccompRule): boolean {
  return names.includes('ioctl') && !DENYING.test(action);
}

function restricted(rule: SeccompRule): SeccompRule[] {
  const names = rule.names.filter((name) => name !== 'ioctl');
  const ioctl = { ...rule, names: ['ioctl'] };
  const { args = [] } = rule;
  return [
    ...(names.length === 0 ? [] : [{ ...rule, names }]),
    ...(args.length === 0 ? [{ ...ioctl, args: others }] : eitherOf(args).flatMap((all) => narrowed(ioctl, all))),
  ];
}

/** An argument twice in one rule means either, as the OCI runtime has it; different ones mean all. */
function eitherOf(args: SeccompArgument[]): SeccompArgument[][] {
  const isRepeated = new Set(args.map(({ index }) => index)).size < args.length;
  return isRepeated ? args.map((one) => [one]) : [args];
}

/** Two conditions on one argument cannot both be asked for: of those on the request only a plain one is let through. */
function narrowed(ioctl: SeccompRule, args: SeccompArgument[]): SeccompRule[] {
  const request = args.find(({ index }) => index === REQUEST);
  if (request === undefined) return others.map((other) => ({ ...ioctl, args: [...args, other] }));
  const isPlain = request.op === 'SCMP_CMP_EQ' && ((request.value >>> 8) & 0xff) !== FAMILY;
  return isPlain ? [{ ...ioctl, args }] : [];
}
