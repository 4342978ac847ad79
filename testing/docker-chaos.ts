/** An engine with its Docker API until it is killed: `node docker-chaos.ts OPTIONS SOCKET`. Writes a line when it is ready. */
import { startDockerApi } from '#engine/docker-api/server.ts';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';

const [, , optionsText = '{}', socketPath = ''] = process.argv;
const engine = await openEngine(JSON.parse(optionsText) as EngineOptions);
await startDockerApi({ engine, socketPath, version: '0.1.0' });
process.stdout.write('ready\n');
