import { engineDockerContract } from '#testing/engine-docker-contract.ts';
import { openEngineHost } from '#testing/engine-host.ts';
import { engineVerbsContract } from '#testing/engine-verbs-contract.ts';

engineDockerContract('the local engine', openEngineHost);
engineVerbsContract('the local engine', openEngineHost);
