import { constants } from 'node:os';
import { EngineError } from '../engine.ts';

/** The number of a signal that was given by name (`SIGTERM`, `TERM`) or number. */
export function signalNumber(signal: string | number): number {
  const text = String(signal).toUpperCase();
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= 64) return number;
  }
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  const realTime = /^SIGRTMIN(?:\+(\d+))?$/.exec(name);
  if (realTime !== null) return 34 + Number(realTime[1] ?? 0);
  const number = Object.entries(constants.signals).find(([known]) => known === name)?.[1];
  if (number === undefined)
    throw new EngineError('invalid', `"${signal}" is no signal: use a name such as SIGTERM or a number from 1 to 64`);
  return number;
}
