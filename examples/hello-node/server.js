import { createServer } from 'node:http';

const { PORT = '8080', CF_INSTANCE_INDEX = '0' } = process.env;

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`Hello from Sampan! This is instance ${CF_INSTANCE_INDEX}, on Node ${process.version}.\n`);
});

server.listen(Number(PORT), () => console.log(`listening on port ${PORT}`));

// Told to end: take no new connection, finish what is under way.
process.once('SIGTERM', () => server.close(() => process.exit(0)));
