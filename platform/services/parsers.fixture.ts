/** The parsers of what brokers say, for the fuzzer. */
import type { Fuzz } from '#testing/fuzz.ts';
import { readAnswer, readBound, readProgress, readProvisioned, type Question } from './answers.ts';
import { catalogOf } from './broker.fixture.ts';
import { readCatalog } from './catalog.ts';
import { BrokerError } from './services.ts';

const DICTIONARY = [
  '"credentials":',
  '"operation":',
  '"state":',
  '"services":',
  '"plans":',
  '"id":',
  '"name":',
  '"schemas":',
  '"$ref":',
  '"__proto__":',
  'null',
  'true',
  '{}',
  '[[[[',
];
const QUESTIONS: Question[] = ['provision', 'bind', 'update', 'deprovision', 'unbind'];
const STATUSES = [200, 201, 202, 204, 400, 408, 409, 410, 422, 500];

const schemas = {
  service_instance: { create: { parameters: { $schema: 'http://json-schema.org/draft-04/schema#', type: 'object' } } },
};
const plan = {
  id: 'p',
  name: 'small',
  description: 'd',
  schemas,
  maximum_polling_duration: 60,
  maintenance_info: { version: '1.2.3-rc.1+b', description: 'x' },
};
const client = { id: 'c', secret: 's', redirect_uri: 'https://x' };
const bound = { credentials: { a: [1, { b: null }] }, syslog_drain_url: 'syslog://x:1', volume_mounts: [] };

function refuses(error: unknown): boolean {
  return error instanceof BrokerError;
}

/** The first byte says what was asked, the second which status there was. */
function answer(input: Buffer): string {
  const question = QUESTIONS[(input[0] ?? 0) % QUESTIONS.length] ?? 'bind';
  const status = STATUSES[(input[1] ?? 0) % STATUSES.length] ?? 200;
  const response = { status, reason: '', text: input.subarray(2).toString() };
  const progress = readProgress(response);
  const read = readAnswer(question, response);
  if (question === 'bind') readBound(read, ['syslog_drain']);
  else readProvisioned(read);
  return `${question} ${status} ${String(read.accepted)} ${progress.state}`;
}

export const brokerParsers: Omit<Fuzz, 'inputs'>[] = [
  {
    name: 'catalogs of service brokers',
    corpus: [
      JSON.stringify(catalogOf()),
      JSON.stringify(catalogOf({ requires: ['syslog_drain'], dashboard_client: client }, [plan, { ...plan, id: 'q' }])),
      '{"services":[]}',
    ],
    dictionary: DICTIONARY,
    refuses,
    run: (input) => {
      const services = readCatalog(input.toString());
      return services.map(({ plans, requires }) => `${plans.length} ${requires.length}`).join();
    },
  },
  {
    name: 'answers of service brokers',
    corpus: [...Array(50).keys()].map((index) => {
      const body = index % 2 === 0 ? bound : { state: 'in progress', operation: 'x', dashboard_url: 'https://x' };
      return Buffer.concat([Buffer.from([index % 5, index % 10]), Buffer.from(JSON.stringify(body))]);
    }),
    dictionary: DICTIONARY,
    refuses,
    run: answer,
  },
];
