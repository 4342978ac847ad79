/** Writes blobs and names without end and says what is acknowledged; the test kills it. */
import { openContentStore } from '../content.ts';

const content = openContentStore(process.argv[2] ?? '');
for (let round = 0; ; round += 1) {
  const bytes = Buffer.alloc(200_000, `${process.pid}-${round}-`);
  const { digest } = await content.write(bytes, {});
  await content.setName('app', 'latest', digest);
  await content.setName('app', `v${round % 5}`, digest);
  process.stdout.write(`${digest}\n`);
}
