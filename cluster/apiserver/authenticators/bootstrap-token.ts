/** Tokens with which a new node asks for its certificate (Kubernetes "Authenticating with Bootstrap Tokens"). */
import { timingSafeEqual } from 'node:crypto';
import { secrets } from '../../kinds/resources.ts';
import type { Secret } from '../../kinds/types/core.ts';
import { kindPrefix, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';
import type { AuthenticateToken } from './token.ts';

const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const TYPE = 'bootstrap.kubernetes.io/token';
const GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

export function bootstrapTokens(core: Core): AuthenticateToken {
  return async (token, audiences) => {
    const match = TOKEN.exec(token);
    if (match === null || audiences !== undefined) return undefined;
    const [, id = '', secret = ''] = match;
    const prefix = kindPrefix(secrets);
    const found = core.cache.resource(prefix).objects.get(`${prefix}kube-system/bootstrap-token-${id}`);
    if (found === undefined) return undefined;
    const { type, data, metadata } = objectOf(found) as Secret;
    if (type !== TYPE || metadata.deletionTimestamp !== undefined) return undefined;
    const text = (key: string) => Buffer.from(data?.[key] ?? '', 'base64').toString();
    if (text('token-id') !== id || !same(text('token-secret'), secret)) return undefined;
    const expiration = text('expiration');
    if (expiration !== '' && !(Date.parse(expiration) > core.now())) return undefined;
    if (text('usage-bootstrap-authentication') !== 'true') return undefined;
    const extra = text('auth-extra-groups')
      .split(',')
      .map((group) => group.trim())
      .filter((group) => group !== '');
    if (extra.some((group) => !GROUP.test(group))) return undefined;
    return { user: { name: `system:bootstrap:${id}`, groups: ['system:bootstrappers', ...extra] } };
  };
}

function same(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
