/** Formats that a custom resource's schema may ask of a text (Kubernetes "Validation", of CustomResourceDefinitions). */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { dnsSubdomainProblem } from './names.ts';

const DATE = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;
const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const DURATION = /^-?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w))*$|^0$/;
const HEX = '[0-9a-fA-F]';

const CHECKS: Record<string, (text: string) => boolean> = {
  bsonobjectid: of(`^${HEX}{24}$`),
  byte: of('^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'),
  cidr: isCidr,
  creditcard: (text) => /^\d{13,19}$/.test(text.replace(/[ -]/g, '')),
  date: (text) => DATE.test(text) && !Number.isNaN(Date.parse(text)),
  'date-time': (text) => TIME.test(text) && !Number.isNaN(Date.parse(text)),
  datetime: (text) => TIME.test(text) && !Number.isNaN(Date.parse(text)),
  duration: (text) => DURATION.test(text),
  email: of('^[^\\s@<>]+@[^\\s@<>]+$'),
  hexcolor: of(`^#?(${HEX}{3}|${HEX}{6})$`),
  hostname: (text) => dnsSubdomainProblem(text.toLowerCase()) === undefined,
  ipv4: isIPv4,
  ipv6: isIPv6,
  isbn: (text) => /^(97[89])?\d{9}[\dX]$/.test(text.replace(/[ -]/g, '')),
  isbn10: (text) => /^\d{9}[\dX]$/.test(text.replace(/[ -]/g, '')),
  isbn13: (text) => /^97[89]\d{10}$/.test(text.replace(/[ -]/g, '')),
  mac: of(`^${HEX}{2}([:-]${HEX}{2}){5}$`),
  rgbcolor: of('^rgb\\(\\s*\\d{1,3}\\s*,\\s*\\d{1,3}\\s*,\\s*\\d{1,3}\\s*\\)$'),
  ssn: of('^\\d{3}[- ]?\\d{2}[- ]?\\d{4}$'),
  uri: (text) => URL.canParse(text) || text.startsWith('/'),
  uuid: uuid('[0-9a-fA-F]'),
  uuid3: uuid('3'),
  uuid4: uuid('4'),
  uuid5: uuid('5'),
};

/** A format that is not known is not checked, as upstream's. */
export function hasFormat(text: string, format: string): boolean {
  return CHECKS[format]?.(text) ?? true;
}

/** Whole numbers of a size. */
export function fitsFormat(value: number, format: string): boolean {
  if (format === 'int32') return Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
  return format !== 'int64' || Number.isInteger(value);
}

function of(pattern: string): (text: string) => boolean {
  const expression = new RegExp(pattern);
  return (text) => expression.test(text);
}

function uuid(version: string): (text: string) => boolean {
  return of(`^${HEX}{8}-?${HEX}{4}-?${version}${HEX}{3}-?${HEX}{4}-?${HEX}{12}$`);
}

function isCidr(text: string): boolean {
  const [address = '', length = '', ...more] = text.split('/');
  const family = isIP(address);
  return more.length === 0 && family !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}
