/** The seccomp profile of a container, from the data in `seccomp.json`, in the form of the OCI runtime specification. */
import type { SeccompProfile, SeccompRule } from '../engine.ts';
import profile from './seccomp.json' with { type: 'json' };

const errno = { EPERM: 1, ENOSYS: 38 } as const;

/** @param capabilities  the bounding set, without `CAP_` */
export function seccompProfile(capabilities: readonly string[], arch: NodeJS.Architecture): SeccompProfile {
  const allow = 'SCMP_ACT_ALLOW';
  const syscalls: SeccompRule[] = [{ names: profile.allow.split(' '), action: allow }];
  const own = arch === 'arm64' ? profile.architecture.arm64 : profile.architecture.x64;
  syscalls.push({ names: own.split(' '), action: allow });
  for (const [capability, names] of Object.entries(profile.capability)) {
    if (capabilities.includes(capability)) syscalls.push({ names: names.split(' '), action: allow });
  }
  for (const { names, index, operator, value } of profile.arguments) {
    syscalls.push({ names: names.split(' '), action: allow, args: [{ index, value, op: operator }] });
  }
  if (!capabilities.includes('SYS_ADMIN')) {
    const { cloneMask, missing } = profile.withoutSysAdmin;
    const noNamespace = { index: 0, value: cloneMask, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' };
    syscalls.push({ names: ['clone'], action: allow, args: [noNamespace] });
    syscalls.push({ names: missing.split(' '), action: 'SCMP_ACT_ERRNO', errnoRet: errno.ENOSYS });
  }
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: errno.EPERM,
    architectures: arch === 'arm64' ? ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'] : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls,
  };
}
