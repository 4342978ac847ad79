/** Questions of a pod to the name server of its node, one after the other: what a program waits for a name. */
import { services } from '#cluster/kinds/resources.ts';
import { RecordType } from '#lib/dns/message.ts';
import { claimOctet } from '#testing/claim-octet.ts';
import { openDnsBed } from '#testing/dns-bed.ts';
import { questionOf } from '#testing/dns-fuzz.ts';
import { until } from '#testing/until.ts';
import { type Row, median, percentile } from './row.ts';

const SERVICES = 200;
const QUESTIONS = 2000;

export async function run(): Promise<Row[]> {
  await using bed = await openDnsBed(await claimOctet(), { 'www.example.com': '192.0.2.53' });
  const namespace = 'default';
  for (let index = 0; index < SERVICES; index += 1) {
    await bed.node.client.create(services, {
      metadata: { name: `service-${index}`, namespace },
      spec: { ports: [{ name: 'http', port: 80 }] },
    });
  }
  await bed.startServer();
  await bed.run('asker');
  const whole = (index: number): string => `service-${index}.${namespace}.svc.cluster.local`;
  const answers = async (name: string): Promise<number> =>
    (await bed.ask('asker', questionOf(name, RecordType.a))).readUInt16BE(6);
  await until(async () => (await answers(whole(SERVICES - 1))) === 1);
  const time = async (nameOf: (index: number) => string): Promise<number[]> => {
    const times: number[] = [];
    for (let index = 0; index < QUESTIONS; index += 1) {
      const name = nameOf(index);
      const begun = performance.now();
      if ((await answers(name)) !== 1) throw new Error(`${name} was not answered`);
      times.push(performance.now() - begun);
    }
    return times;
  };
  const cluster = await time((index) => whole(index % SERVICES));
  const remembered = await time(() => 'www.example.com');
  return [
    {
      what: `a name of the cluster, ${SERVICES} services, median`,
      unit: 'ms',
      ours: median(cluster),
      goal: 'at most 1 ms',
    },
    { what: 'the same, 99 of 100', unit: 'ms', ours: percentile(cluster, 0.99), goal: '' },
    { what: 'a name of elsewhere, remembered, median', unit: 'ms', ours: median(remembered), goal: 'at most 1 ms' },
  ];
}
