/** Run by `ask.test.ts` on a terminal: asks, and tells how long the answer was. */
import { ask } from './ask.ts';

const answer = await ask({ text: 'Password: ', hidden: process.argv[2] === 'hidden', remedy: 'none' });
console.log(`${answer.length} characters`);
