/** `agent-streams.test.ts` with every stock kubectl that is here. */
process.env['EVERY_KUBECTL'] = '1';
await import('./agent-streams.test.ts');
