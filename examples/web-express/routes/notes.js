import { Router } from 'express';

/** Kept in memory: each instance has its own, and they go with it. */
const all = new Map();
let next = 1;

export const notes = Router();

notes.get('/', (request, response) => response.json([...all.values()]));

notes.post('/', (request, response) => {
  const { text } = request.body ?? {};
  if (typeof text !== 'string' || text === '') return response.status(400).json({ error: 'text is missing' });
  const note = { id: next++, text };
  all.set(note.id, note);
  response.status(201).json(note);
});

notes.delete('/:id', (request, response) => {
  response.status(all.delete(Number(request.params.id)) ? 204 : 404).end();
});
