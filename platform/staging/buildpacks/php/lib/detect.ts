/** bin/detect of the php buildpack, when there is a file of PHP's: asks for the runtime. */
import { planRuntimes } from '../../../lifecycle/runtimes.ts';
import { choosePhp } from './version.ts';

const [, plan] = process.argv.slice(2);
if (plan === undefined) throw new Error('usage: detect PLATFORM PLAN');
const choice = choosePhp(process.env);
planRuntimes(plan, 'php', 'runtime' in choice ? [choice.runtime.name] : []);
