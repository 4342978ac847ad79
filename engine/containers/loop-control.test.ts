import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SeccompProfile, SeccompRule } from '../engine.ts';
import { withoutLoopControl } from './loop-control.ts';
import { weakerThan } from './seccomp-strength.ts';

const LOOP_CLR_FD = 0x4c01;
const allow = 'SCMP_ACT_ALLOW';
const profileOf = (syscalls: SeccompRule[], defaultAction = 'SCMP_ACT_ERRNO'): SeccompProfile => ({
  defaultAction,
  architectures: [],
  syscalls,
});
const request = (value: number, op = 'SCMP_CMP_EQ') => ({ index: 1, value, op });
const ioctl = (...args: NonNullable<SeccompRule['args']>): SeccompRule => ({ names: ['ioctl'], action: allow, args });
/** Whether it lets a request through, by the comparison that is held beside Docker's profile. */
const lets = (profile: SeccompProfile, value: number): boolean =>
  weakerThan(profileOf([ioctl(request(value))]), profile).length === 0;

test('requests of loop devices are refused, all others are let through as before', () => {
  const open = withoutLoopControl(profileOf([{ names: ['read', 'ioctl'], action: allow }]));
  for (const value of [0x4c00, LOOP_CLR_FD, 0x4c0a, 0x4c82, 0x7fff4c01])
    assert.equal(lets(open, value), false, `${value}`);
  for (const value of [0, 0x5401, 0x5413, 0x127f, 0x4d01, 0x4801, 0xc01])
    assert.equal(lets(open, value), true, `${value}`);
  assert.deepEqual(open.syscalls[0], { names: ['read'], action: allow });
});

test('whatever conditions a profile has of its own', () => {
  const plain = withoutLoopControl(profileOf([ioctl(request(0x5401), request(LOOP_CLR_FD))]));
  assert.deepEqual([lets(plain, 0x5401), lets(plain, LOOP_CLR_FD)], [true, false]);
  assert.deepEqual(withoutLoopControl(profileOf([ioctl(request(0x5401, 'SCMP_CMP_NE'))])).syscalls, []);
  const ofOne = withoutLoopControl(profileOf([ioctl({ index: 0, value: 3, op: 'SCMP_CMP_EQ' })]));
  const asked = (value: number) => profileOf([ioctl({ index: 0, value: 3, op: 'SCMP_CMP_EQ' }, request(value))]);
  assert.deepEqual(weakerThan(asked(0x5401), ofOne), []);
  assert.equal(weakerThan(asked(LOOP_CLR_FD), ofOne).length, 1);
  const denied = profileOf([{ names: ['ioctl'], action: 'SCMP_ACT_KILL' }]);
  assert.deepEqual(withoutLoopControl(denied), denied);
});

test('a profile that allows what it does not name refuses them by name', () => {
  const [rule] = withoutLoopControl(profileOf([], allow)).syscalls;
  assert.deepEqual([rule?.names, rule?.action], [['ioctl'], 'SCMP_ACT_ERRNO']);
  assert.deepEqual(rule?.args, [{ index: 1, value: 0xff00, valueTwo: 0x4c00, op: 'SCMP_CMP_MASKED_EQ' }]);
});
