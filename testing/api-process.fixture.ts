/** An API server in a process of its own: tells where it is, and, whenever it is asked anything, how much memory it has. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { startControlPlane } from './control-plane.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const plane = await startControlPlane();
process.on('message', () => {
  collect();
  process.send?.(process.memoryUsage().rss);
});
process.on('disconnect', () => process.exit(0));
process.send?.(plane.address);
