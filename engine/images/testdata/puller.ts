/** Pulls an image out of its own content store and says how far it is; the test kills it on the way. */
import { openImages } from '../open.ts';

const [dataDirectory = '', reference = ''] = process.argv.slice(2);
const images = await openImages({ dataDirectory });
images.serveLocally('own.invalid');
await images.pull(reference, { onProgress: ({ state }) => process.stdout.write(`${state}\n`) });
process.stdout.write('pulled\n');
