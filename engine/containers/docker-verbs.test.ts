import { engineDockerContract } from '#testing/engine-docker-contract.ts';
import { openEngineHost } from '#testing/engine-host.ts';

engineDockerContract('the local engine', openEngineHost);
