/** How the certificates of an instance stand: those that are over, will soon be, or cannot be made, and what to do. Pure. */
import type { CertificateFact } from './certificate-facts.ts';
import type { Finding } from './requirements.ts';

const DAY = 86_400_000;
/** Before its end there should have been another: files are made anew 30 days before. */
const SOON = { authority: 90 * DAY, instance: 21 * DAY, uploaded: 21 * DAY } as const;

/** One finding for each that is not as it should be; else one for all. None where there are no certificates. */
export function judgeCertificates(all: readonly CertificateFact[], now: number): Finding[] {
  if (all.length === 0) return [];
  const wrong = all.flatMap((certificate) => judgeOne(certificate, now));
  if (wrong.length > 0) return wrong;
  const first = all.reduce((a, b) => ((a.notAfter ?? Infinity) <= (b.notAfter ?? Infinity) ? a : b));
  const found = `${all.length}; the first to end is ${first.name}, on ${day(first.notAfter)}`;
  return [{ name: 'certificates', level: 'ok', code: 'certificate', found, remedy: '' }];
}

function judgeOne(certificate: CertificateFact, now: number): Finding[] {
  const { name, source, notAfter, problem } = certificate;
  const isOver = notAfter !== undefined && notAfter <= now;
  const isSoon = notAfter !== undefined && notAfter - soonBefore(certificate) <= now;
  if (!isOver && !isSoon && problem === undefined) return [];
  const words = [
    ...(isOver ? [`ended on ${day(notAfter)}`] : []),
    ...(isSoon && !isOver ? [`ends on ${day(notAfter)}, in ${Math.floor((notAfter - now) / DAY)} days`] : []),
    ...(problem === undefined ? [] : [problem]),
  ];
  const isFile = source === 'authority' || source === 'instance';
  return [
    {
      name: 'certificate',
      level: isOver || (isFile && problem !== undefined) ? 'error' : 'warning',
      code: 'certificate',
      found: `${name}${isFile ? '' : ` (${source})`} ${words.join('; ')}`,
      remedy: remedyFor(certificate),
    },
  ];
}

/** Of those that are made anew by themselves: half of the time that was left for it. */
function soonBefore({ source, notAfter = 0, renewAt }: CertificateFact): number {
  return source === 'acme' || source === 'own' ? (notAfter - (renewAt ?? notAfter)) / 2 : SOON[source];
}

function remedyFor({ name, source }: CertificateFact): string {
  switch (source) {
    case 'authority':
      return name === 'ca'
        ? 'Everything of the instance is signed by it: `sampan down`, move the directory pki out of the data directory, `sampan up` (all is made anew), and give the new pki/ca.crt to whoever trusts the old one.'
        : `Take ${name}.crt and ${name}.key out of the directory pki, \`sampan down\`, \`sampan up\`: it is made anew.`;
    case 'instance':
      return '`sampan up` makes it anew from 30 days before its end on, and starts the processes again with it; apps go on.';
    case 'uploaded':
      return 'Bring the next one: sampan set-domain-certificate DOMAIN --cert FILE --key FILE; until then what the platform has itself is offered when it is over.';
    case 'acme':
      return 'It is tried again by itself (sampan domains says when): the host must lead to port 80 of this machine, and the ACME server must be reached from it.';
    case 'own':
      return 'The platform makes it anew while it runs: `sampan up`, and `sampan status` says what is wrong with it.';
  }
}

function day(time: number | undefined): string {
  return time === undefined ? 'no day' : new Date(time).toISOString().slice(0, 10);
}
