/** A task: cf run-task guestbook --command "node count.js" --name count */
import { pool, prepare } from './database.js';

await prepare();
const { rows } = await pool.query('SELECT count(*) AS entries, count(DISTINCT name) AS people FROM entries');
console.log(`entries: ${rows[0].entries}, people: ${rows[0].people}`);
await pool.end();
