/** Keeps the engine's peers what the Nodes say. */
import { setTimeout as delay } from 'node:timers/promises';
import { coalesced } from '#lib/coalesced.ts';
import { sharedInformer } from '../../client/shared-informer.ts';
import { nodes as nodeResource } from '../../kinds/resources.ts';
import type { OverlayOptions, OverlayPeer, RunningOverlay } from './overlay.ts';
import { peersOf } from './peers.ts';

const RETRY_AFTER = 1000;
/** Mends what somebody else removed from the kernel. */
const SLOW_PERIOD = 10 * 60_000;

export function startOverlay(options: OverlayOptions): RunningOverlay {
  const { client, engine, log } = options;
  const stop = new AbortController();
  const nodes = sharedInformer(client, nodeResource, {}, (error) =>
    log('warn', 'the watch on nodes broke off; it is tried again', { error: String(error) }),
  );
  const complaints = new Set<string>();

  function wanted(): OverlayPeer[] {
    const { peers, refused } = peersOf(nodes.list(), options);
    for (const { node, why } of refused) {
      const complaint = `${node}: ${why}`;
      if (!complaints.has(complaint)) log('warn', `node ${node} is no peer of this one: ${why}`, { node });
      complaints.add(complaint);
    }
    return peers;
  }

  const apply = coalesced(async () => {
    while (!stop.signal.aborted) {
      try {
        return await engine.setPeers(wanted());
      } catch (error) {
        log('error', 'the way to other hosts could not be set; it is tried again', { error: String(error) });
        await delay(RETRY_AFTER, undefined, { signal: stop.signal }).catch(() => undefined);
      }
    }
  });
  const wake = (): void => void apply();
  const period = setInterval(wake, SLOW_PERIOD).unref();

  async function begin(): Promise<void> {
    await nodes.synced;
    nodes.onChange((now, old) => {
      // A node's status is written often, and seldom says anything new to us.
      if (JSON.stringify(now && peersOf([now], options)) !== JSON.stringify(old && peersOf([old], options))) wake();
    });
    await apply();
  }
  const ready = begin();
  ready.catch(() => undefined);

  return {
    ready,
    async close() {
      stop.abort();
      clearInterval(period);
      nodes.close();
      await apply();
    },
  };
}
