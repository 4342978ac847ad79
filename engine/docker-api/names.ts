/** Names for containers that were given none. */
import { randomInt } from 'node:crypto';

const QUALITIES =
  'amber brisk calm clear deft early fair fleet fresh glad keen light lucid merry mild noble plain prime quick quiet ready sharp steady still swift tidy vivid warm wide young'.split(
    ' ',
  );
const THINGS =
  'anchor barge beacon bow bridge buoy cabin canal cove creek deck delta dock ferry fjord harbor heron jetty keel lagoon lantern mast oar otter pier quay raft reed rudder sail shore skiff tide wharf'.split(
    ' ',
  );

export function randomName(isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt += 1) {
    const words = `${QUALITIES[randomInt(QUALITIES.length)]}_${THINGS[randomInt(THINGS.length)]}`;
    const name = attempt === 0 ? words : `${words}${randomInt(10 ** Math.min(attempt, 9))}`;
    if (!isTaken(name)) return name;
  }
}
