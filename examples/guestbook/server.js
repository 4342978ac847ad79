import { createServer } from 'node:http';
import { pool, prepare } from './database.js';
import { page } from './page.js';

const LONGEST_BODY = 10_000;

async function form(request) {
  let body = '';
  for await (const chunk of request) {
    body += chunk;
    if (body.length > LONGEST_BODY) return undefined;
  }
  const fields = new URLSearchParams(body);
  const [name, words] = [fields.get('name')?.trim(), fields.get('words')?.trim()];
  return name && words ? { name: name.slice(0, 80), words: words.slice(0, 1000) } : undefined;
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://guestbook');
  if (pathname === '/health') return response.end('ok\n');
  if (pathname !== '/') return response.writeHead(404).end('There is nothing here.\n');
  if (request.method === 'POST') {
    const entry = await form(request);
    if (entry === undefined) return response.writeHead(400).end('A name and some words are needed.\n');
    await pool.query('INSERT INTO entries (name, words) VALUES ($1, $2)', [entry.name, entry.words]);
    return response.writeHead(303, { location: '/' }).end();
  }
  const { rows } = await pool.query('SELECT name, words, written FROM entries ORDER BY id DESC LIMIT 100');
  if (request.headers.accept === 'application/json') {
    return response.setHeader('content-type', 'application/json').end(JSON.stringify(rows));
  }
  return response.setHeader('content-type', 'text/html; charset=utf-8').end(page(rows));
}

await prepare();
const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(`${request.method} ${request.url}: ${error.message}`);
    response.writeHead(503).end('The database does not answer now: try again.\n');
  });
});
server.listen(process.env.PORT ?? 8080, () => console.log(`guestbook listens on port ${server.address().port}`));
process.on('SIGTERM', () => server.close(() => pool.end().then(() => process.exit(0))));
