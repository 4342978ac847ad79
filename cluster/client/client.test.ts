import { clientContract } from '#testing/client-contract.ts';

clientContract('in-process', (plane) => plane.inProcess());
clientContract('https', (plane) => plane.https());
