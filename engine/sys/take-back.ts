/** A device of the host's that a runtime gave away. */
import { chmodSync, chownSync, statSync } from 'node:fs';

/**
 * crun before 1.24 makes the container's root the owner of what it has as standard input, which for a container without
 * one is the host's null device: its root could take that from everybody. A created container does not run yet.
 */
export function takeBack(device: string): void {
  const { uid, gid, mode } = statSync(device);
  if (uid !== 0 || gid !== 0) chownSync(device, 0, 0);
  if ((mode & 0o777) !== 0o666) chmodSync(device, 0o666);
}
