/** An LDAP provider in UAA's words (`/identity-providers` of the type `ldap`), and back. What is not done here is refused, and said. */
import { X509Certificate } from 'node:crypto';
import type { LdapProvider } from '../../../resources/identity-providers.ts';
import { bodyOf, optionalText } from '../../scim/body.ts';
import { UaaError } from '../../uaa.ts';

export type LdapSettings = Omit<
  LdapProvider,
  'origin' | 'displayName' | 'active' | 'linkText' | 'addUsers' | 'groupMappings'
>;

const PROFILE = 'ldap/ldap-search-and-bind.xml';
const GROUP_FILES: Readonly<Record<string, LdapProvider['groups']>> = {
  'ldap/ldap-groups-null.xml': 'none',
  'ldap/ldap-groups-as-scopes.xml': 'as-scopes',
  'ldap/ldap-groups-map-to-scopes.xml': 'mapped',
};
/** As UAA calls a group's own name. */
const DN_ATTRIBUTE = 'spring.security.ldap.dn';
const MOST_DEPTH = 10;

export function readLdap(config: Record<string, unknown>): { settings: LdapSettings; secret: string | undefined } {
  const text = (field: string, fallback: string): string => line(field, optionalText(config, field) ?? fallback);
  const profile = text('ldapProfileFile', PROFILE);
  if (profile !== PROFILE) throw wrong('ldapProfileFile', profile, `${PROFILE} is what there is`);
  const groupFile = text('ldapGroupFile', 'ldap/ldap-groups-null.xml');
  const groups = Object.hasOwn(GROUP_FILES, groupFile) ? GROUP_FILES[groupFile] : undefined;
  if (groups === undefined)
    throw wrong('ldapGroupFile', groupFile, `use one of ${Object.keys(GROUP_FILES).join(', ')}`);
  const startTls = startTlsOf(text('tlsConfiguration', 'none'));
  if (config['skipSSLVerification'] === true)
    throw wrong('skipSSLVerification', 'true', 'certificates are always checked; give the authority as sslCertificate');
  const mappings = config['attributeMappings'] === undefined ? {} : bodyOf(config['attributeMappings']);
  const attribute = (from: Record<string, unknown>, field: string, fallback: string): string => {
    const value = optionalText(from, field) ?? fallback;
    if (/^[A-Za-z][A-Za-z0-9.;-]{0,100}$/.test(value)) return value;
    throw wrong(field, value, 'it is no attribute');
  };
  const authorities = authoritiesOf(config['sslCertificate']);
  return {
    settings: {
      type: 'ldap',
      url: urlOf(text('baseUrl', ''), startTls),
      startTls,
      ...(authorities === undefined ? {} : { authorities }),
      bindDn: text('bindUserDn', ''),
      userBase: text('userSearchBase', ''),
      userFilter: filterOf('userSearchFilter', text('userSearchFilter', 'cn={0}')),
      mailAttribute: attribute(config, 'mailAttributeName', 'mail'),
      givenNameAttribute: attribute(mappings, 'first_name', 'givenName'),
      familyNameAttribute: attribute(mappings, 'family_name', 'sn'),
      groups,
      groupBase: text('groupSearchBase', ''),
      groupFilter: filterOf('groupSearchFilter', text('groupSearchFilter', 'member={0}')),
      groupAttribute: attribute(config, 'groupRoleAttribute', DN_ATTRIBUTE),
      groupDepth: depthOf(config['maxGroupSearchDepth']),
    },
    secret: optionalText(config, 'bindPassword'),
  };
}

/** Without the password. */
export function presentLdap(settings: LdapSettings): Record<string, unknown> {
  const groupFile = Object.entries(GROUP_FILES).find(([, groups]) => groups === settings.groups)?.[0];
  return {
    ldapProfileFile: PROFILE,
    ldapGroupFile: groupFile,
    baseUrl: settings.url,
    tlsConfiguration: settings.startTls ? 'simple' : 'none',
    skipSSLVerification: false,
    ...(settings.authorities === undefined ? {} : { sslCertificate: settings.authorities }),
    bindUserDn: settings.bindDn,
    userSearchBase: settings.userBase,
    userSearchFilter: settings.userFilter,
    mailAttributeName: settings.mailAttribute,
    groupSearchBase: settings.groupBase,
    groupSearchFilter: settings.groupFilter,
    groupRoleAttribute: settings.groupAttribute,
    maxGroupSearchDepth: settings.groupDepth,
    attributeMappings: { first_name: settings.givenNameAttribute, family_name: settings.familyNameAttribute },
  };
}

export function groupIsItsName({ groupAttribute }: LdapSettings): boolean {
  return groupAttribute === DN_ATTRIBUTE;
}

/** As mappings are compared: people write a name with other spaces and letters than a directory. */
export function comparableDn(dn: string): string {
  return dn
    .toLowerCase()
    .replace(/\s*([,=])\s*/g, '$1')
    .trim();
}

function wrong(field: string, value: string, why: string): UaaError {
  return new UaaError(
    'invalid_scim_resource',
    `${field} ${JSON.stringify(value.slice(0, 100))} cannot be used: ${why}`,
  );
}

function line(field: string, value: string): string {
  if (value.length > 1000 || /\p{Cc}/u.test(value))
    throw wrong(field, value, 'it is one line of 1000 characters at most');
  return value;
}

function startTlsOf(value: string): boolean {
  if (value === 'none') return false;
  if (value === 'simple') return true;
  throw wrong('tlsConfiguration', value, 'use none or simple');
}

/** Passwords go over it: without TLS on the loopback alone. */
function urlOf(value: string, startTls: boolean): string {
  const url = URL.parse(value);
  const isLdap =
    url !== null && ['ldap:', 'ldaps:'].includes(url.protocol) && url.hostname !== '' && /^\/?$/.test(url.pathname);
  if (!isLdap) throw wrong('baseUrl', value, 'it must be ldap://HOST:PORT or ldaps://HOST:PORT');
  const local = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url.protocol === 'ldap:' && !startTls && !local)
    throw wrong('baseUrl', value, 'passwords would go in clear; use ldaps, or tlsConfiguration simple');
  return value.replace(/\/$/, '');
}

/** Balanced, and with the place for the name: what is put in is escaped, so that it stays one value. */
function filterOf(field: string, value: string): string {
  const depth = [...value].reduce(
    (open, letter) => (open < 0 ? open : open + (letter === '(' ? 1 : letter === ')' ? -1 : 0)),
    0,
  );
  if (!value.includes('{0}') || depth !== 0) throw wrong(field, value, 'it must be a filter with {0} in it');
  return value.startsWith('(') ? value : `(${value})`;
}

function depthOf(value: unknown): number {
  const depth = value ?? MOST_DEPTH;
  if (typeof depth === 'number' && Number.isInteger(depth) && depth >= 1 && depth <= MOST_DEPTH) return depth;
  throw wrong('maxGroupSearchDepth', String(depth), `it must be 1 to ${MOST_DEPTH}`);
}

function authoritiesOf(pem: unknown): string | undefined {
  if (pem === undefined || pem === null) return undefined;
  try {
    const text = String(pem);
    new X509Certificate(text);
    return text;
  } catch {
    throw wrong('sslCertificate', String(pem), 'it must be a certificate in PEM');
  }
}
