/** bin/detect of the go buildpack, when there is a file of Go's: asks for the C compiler where the app wants cgo. */
import { planRuntimes } from '../../../lifecycle/runtimes.ts';

const [, plan] = process.argv.slice(2);
if (plan === undefined) throw new Error('usage: detect PLATFORM PLAN');
planRuntimes(plan, 'go', process.env['CGO_ENABLED'] === '1' ? ['c-gcc'] : []);
