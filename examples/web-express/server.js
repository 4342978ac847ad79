import compression from 'compression';
import express from 'express';
import { notes } from './routes/notes.js';

const app = express();
app.set('trust proxy', true);
app.use(compression());
app.use(express.json({ limit: '100kb' }));
app.use(express.static('public', { maxAge: '1h' }));
app.use('/notes', notes);
app.get('/whoami', (request, response) => {
  response.json({ address: request.ip, protocol: request.protocol, instance: process.env.CF_INSTANCE_INDEX ?? '0' });
});

const server = app.listen(process.env.PORT ?? 8080, () =>
  console.log(`web-express listens on port ${server.address().port}`),
);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
