import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { mandatoryPriorityLevels } from './flow-control-bootstrap.ts';
import { priorityLevelConfigurations } from './resources.ts';
import { setDefaults } from './rules.ts';
import type {
  LimitedPriorityLevelConfiguration,
  PriorityLevelConfiguration,
  QueuingConfiguration,
} from './types/flowcontrol.ts';

const EXEMPT = 'exempt';
/** Of hands: what more would be no longer told apart by one number. */
const MOST_BITS = 60;

export const priorityLevelConfigurationKind = defineKind(priorityLevelConfigurations, {
  schemaName: 'io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration',
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<PriorityLevelConfiguration>('Type', 'string', ({ spec }) => spec?.type ?? ''),
    column<PriorityLevelConfiguration>(
      'NominalConcurrencyShares',
      'integer',
      ({ spec }) => (spec?.limited ?? spec?.exempt)?.nominalConcurrencyShares ?? '<none>',
    ),
    queueColumn('Queues', 'queues'),
    queueColumn('HandSize', 'handSize'),
    queueColumn('QueueLengthLimit', 'queueLengthLimit'),
    ageColumn,
  ],
  defaults: (object) => {
    const { spec } = object as unknown as PriorityLevelConfiguration;
    if (spec?.type === 'Exempt') spec.exempt ??= {};
    setDefaults(object, {
      'spec.exempt.nominalConcurrencyShares': 0,
      'spec.exempt.lendablePercent': 0,
      'spec.limited.nominalConcurrencyShares': 30,
      'spec.limited.lendablePercent': 0,
      'spec.limited.limitResponse.queuing.queues': 64,
      'spec.limited.limitResponse.queuing.handSize': 8,
      'spec.limited.limitResponse.queuing.queueLengthLimit': 50,
      status: {},
    });
  },
  prepareForCreate: (object) => {
    object['status'] = {};
  },
  validate: (object) => problems(object as unknown as PriorityLevelConfiguration),
});

function queueColumn(name: string, field: keyof QueuingConfiguration) {
  return column<PriorityLevelConfiguration>(
    name,
    'string',
    ({ spec }) => spec?.limited?.limitResponse?.queuing?.[field] ?? '<none>',
  );
}

function problems({ metadata, spec }: PriorityLevelConfiguration): FieldError[] {
  const name = metadata.name ?? '';
  const { type = '', limited, exempt } = spec ?? {};
  const errors: FieldError[] = [];
  const fixed = mandatoryPriorityLevels.get(name);
  // How much the exempt level lends is its own affair.
  if (fixed !== undefined && name !== EXEMPT && !isDeepStrictEqual(spec, fixed))
    errors.push(invalid('spec', spec ?? null, `spec of '${name}' must equal the fixed value`));
  if (type !== 'Exempt' && type !== 'Limited')
    return [...errors, notSupported('spec.type', type, ['Exempt', 'Limited'])];
  if ((name === EXEMPT) !== (type === 'Exempt'))
    errors.push(invalid('spec.type', type, "type must be 'Exempt' if and only if `name` is 'exempt'"));
  if (type === 'Exempt' && limited !== undefined)
    errors.push(forbidden('spec.limited', 'must be nil if the type is not Limited'));
  if (type === 'Limited' && exempt !== undefined)
    errors.push(forbidden('spec.exempt', 'must be nil if the type is Limited'));
  if (type === 'Limited' && limited === undefined)
    errors.push(required('spec.limited', 'must not be empty when type is Limited'));
  const own = limited ?? exempt;
  const at = limited === undefined ? 'spec.exempt' : 'spec.limited';
  if ((own?.nominalConcurrencyShares ?? 0) < 0)
    errors.push(
      invalid(`${at}.nominalConcurrencyShares`, own?.nominalConcurrencyShares, 'must be a non-negative integer'),
    );
  const { lendablePercent = 0 } = own ?? {};
  if (lendablePercent < 0 || lendablePercent > 100)
    errors.push(invalid(`${at}.lendablePercent`, lendablePercent, 'must be between 0 and 100, inclusive'));
  return limited === undefined ? errors : [...errors, ...limitedProblems(limited)];
}

function limitedProblems({
  borrowingLimitPercent = 0,
  limitResponse,
}: LimitedPriorityLevelConfiguration): FieldError[] {
  const errors: FieldError[] = [];
  if (borrowingLimitPercent < 0)
    errors.push(
      invalid(
        'spec.limited.borrowingLimitPercent',
        borrowingLimitPercent,
        'if specified, must be a non-negative integer',
      ),
    );
  const at = 'spec.limited.limitResponse';
  const { type = '', queuing } = limitResponse ?? {};
  if (type === 'Reject')
    return queuing === undefined
      ? errors
      : [...errors, forbidden(`${at}.queuing`, 'must be nil if limited.limitResponse.type is not Limited')];
  if (type !== 'Queue') return [...errors, notSupported(`${at}.type`, type, ['Queue', 'Reject'])];
  if (queuing === undefined)
    return [...errors, required(`${at}.queuing`, 'must not be empty if limited.limitResponse.type is Limited')];
  const { queues = 0, handSize = 0, queueLengthLimit = 0 } = queuing;
  if (queueLengthLimit <= 0)
    errors.push(invalid(`${at}.queuing.queueLengthLimit`, queueLengthLimit, 'must be positive'));
  if (queues <= 0) errors.push(invalid(`${at}.queuing.queues`, queues, 'must be positive'));
  if (queues > 10_000_000) errors.push(invalid(`${at}.queuing.queues`, queues, 'must not be greater than 10000000'));
  if (handSize <= 0) errors.push(invalid(`${at}.queuing.handSize`, handSize, 'must be positive'));
  else if (handSize > queues)
    errors.push(invalid(`${at}.queuing.handSize`, handSize, `should not be greater than queues (${queues})`));
  else if (handBits(queues, handSize) > MOST_BITS)
    errors.push(
      invalid(
        `${at}.queuing.handSize`,
        handSize,
        `required entropy bits of deckSize ${queues} and handSize ${handSize} should not be greater than ${MOST_BITS}`,
      ),
    );
  return errors;
}

function handBits(deck: number, hand: number): number {
  let bits = 0;
  for (let card = 0; card < hand; card++) bits += Math.log2(deck - card);
  return Math.ceil(bits);
}
