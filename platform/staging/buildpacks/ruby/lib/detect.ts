/** bin/detect of the ruby buildpack, when there is a file of Ruby's: asks for the runtime. */
import { planRuntimes } from '../../../lifecycle/runtimes.ts';
import { chooseRuby } from './version.ts';

const [, plan] = process.argv.slice(2);
if (plan === undefined) throw new Error('usage: detect PLATFORM PLAN');
const choice = chooseRuby(process.env);
planRuntimes(plan, 'ruby', 'runtime' in choice ? [choice.runtime.name] : []);
