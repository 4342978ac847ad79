import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const page = await readFile(new URL('public/index.html', import.meta.url));
const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/html; charset=utf-8');
  response.end(page);
});
const sockets = new WebSocketServer({ server, maxPayload: 4096 });

sockets.on('connection', (socket) => {
  socket.on('error', (error) => console.error(`a client was cut off: ${error.message}`));
  socket.on('message', (data) => {
    for (const other of sockets.clients) other.send(data.toString());
  });
});

server.listen(process.env.PORT ?? 8080, () => console.log(`chat listens on port ${server.address().port}`));
process.on('SIGTERM', () => {
  for (const socket of sockets.clients) socket.close(1001, 'the instance goes');
  server.close(() => process.exit(0));
});
