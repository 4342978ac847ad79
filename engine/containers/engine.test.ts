import { engineContract } from '#testing/engine-contract.ts';
import { openEngineHost } from '#testing/engine-host.ts';

engineContract('the local engine', openEngineHost);
