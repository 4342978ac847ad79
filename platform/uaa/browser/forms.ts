/**
 * What every page and form here has in common. A form is taken only with the token that its page set as a cookie too: another
 * site can make a browser send the form, and neither read nor set the cookie.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { UaaError } from '../uaa.ts';
import { contentSecurityPolicy, errorPage } from './pages.ts';

export const SESSION = '__Host-uaa-session';
const TOKEN = '__Host-uaa-token';

/** Browsers name HTML; cf and other clients do not. */
export function wantsPage(request: FastifyRequest): boolean {
  return (request.headers.accept ?? '').includes('text/html');
}

/** @param leadsTo  where the answer to the page's form may send the browser, besides to this host */
export function sendPage(reply: FastifyReply, render: (token: string) => string, leadsTo?: string): FastifyReply {
  const token = randomBytes(24).toString('base64url');
  setCookie(reply, TOKEN, token);
  return reply
    .header('content-security-policy', contentSecurityPolicy(leadsTo))
    .header('cache-control', 'no-store')
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .type('text/html; charset=utf-8')
    .send(render(token));
}

export function sendProblem(reply: FastifyReply, error: UaaError): FastifyReply {
  return sendPage(reply.code(error.status), () => errorPage(error.message));
}

export function formWithToken(request: FastifyRequest): URLSearchParams {
  const { body } = request;
  const form = body instanceof URLSearchParams ? body : new URLSearchParams();
  const sent = Buffer.from(form.get('token') ?? '');
  const own = Buffer.from(cookieOf(request, TOKEN) ?? '');
  if (own.length === 0 || sent.length !== own.length || !timingSafeEqual(sent, own)) {
    throw new UaaError('access_denied', 'The form has expired. Go back, load the page again, and send it anew.');
  }
  return form;
}

export function cookieOf(request: FastifyRequest, name: string): string | undefined {
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [key, value] = part.trim().split('=', 2);
    if (key === name && value) return value;
  }
  return undefined;
}

/** `__Host-` binds it to this host and to TLS. An empty value removes it. */
export function setCookie(reply: FastifyReply, name: string, value: string): void {
  const age = value === '' ? '; Max-Age=0' : '';
  reply.header('set-cookie', `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax${age}`);
}
