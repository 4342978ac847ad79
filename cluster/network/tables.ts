/**
 * The nftables tables of the network's rooms: one for each, `inet sampan-<instance>.<room>`, beside the engine's. A dot is in no
 * instance's name, so nobody's table is taken for another's.
 */
import { nft } from '#lib/nft.ts';
import { run } from '#lib/run.ts';

export function tableName(instance: string, room: string): string {
  return `sampan-${instance}.${room}`;
}

/** Removes the tables of every room. */
export async function purgeTables(instance: string): Promise<void> {
  const { stdout } = await run('nft', ['list', 'tables', 'inet']);
  const names = stdout.split('\n').map((line) => line.replace('table inet ', ''));
  const own = names.filter((name) => name.startsWith(tableName(instance, '')));
  if (own.length > 0) await nft(own.map((name) => `delete table inet ${name}\n`).join(''));
}
