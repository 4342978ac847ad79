/** What is kept of a container on disk, beside its writable layer. */
import type { Container } from '../engine.ts';

export interface ContainerRecord extends Container {
  /** Of its first process, with `pid`: together they name it for ever, until the next boot. */
  pidStartTime?: string;
  /** The spec's, else the image's: kept, since the image's name may be gone by then. */
  stopSignal: string;
}

export function isContainerRecord(value: unknown): value is ContainerRecord {
  return (
    typeof value === 'object' &&
    value !== null &&
    'id' in value &&
    'sandbox' in value &&
    'state' in value &&
    'spec' in value &&
    typeof value.id === 'string' &&
    typeof value.sandbox === 'string' &&
    typeof value.state === 'string' &&
    typeof value.spec === 'object'
  );
}

/** As the contract shows it: a copy, without what is ours. */
export function publicContainer({
  pidStartTime: _pidStartTime,
  stopSignal: _stopSignal,
  ...container
}: ContainerRecord): Container {
  return { ...container };
}
