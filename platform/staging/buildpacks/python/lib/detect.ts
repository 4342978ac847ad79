/** bin/detect of the python buildpack, when there is a file of Python's: asks for the runtime. */
import { planRuntimes } from '../../../lifecycle/runtimes.ts';
import { choosePython } from './version.ts';

const [, plan] = process.argv.slice(2);
if (plan === undefined) throw new Error('usage: detect PLATFORM PLAN');
const choice = choosePython(process.env);
planRuntimes(plan, 'python', 'runtime' in choice ? [choice.runtime.name] : []);
