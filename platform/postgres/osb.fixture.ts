/** A platform, as a broker sees one: for tests. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { SERVICE_ID } from './plans.ts';
import type { Credentials, Plan, Postgres } from './postgres.ts';

export interface OsbAnswer {
  status: number;
  headers: Headers;
  body: Record<string, unknown> & { operation?: string; state?: string; description?: string; error?: string };
}

export class Osb {
  postgres: Postgres;
  constructor(postgres: Postgres) {
    this.postgres = postgres;
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<OsbAnswer> {
    const { url, username, password } = this.postgres;
    const answer = await fetch(`${url}/v2/${path}`, {
      method,
      headers: {
        authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
        'x-broker-api-version': '2.17',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as OsbAnswer['body'] };
  }

  provision(id: string, plan: Plan, more: object = {}): Promise<OsbAnswer> {
    const body = {
      service_id: SERVICE_ID,
      plan_id: plan.id,
      organization_guid: 'org',
      space_guid: 'space-1',
      context: { platform: 'cloudfoundry', space_guid: 'space-1', instance_name: id },
      ...more,
    };
    return this.call('PUT', `service_instances/${id}?accepts_incomplete=true`, body);
  }

  update(id: string, more: object): Promise<OsbAnswer> {
    return this.call('PATCH', `service_instances/${id}?accepts_incomplete=true`, { service_id: SERVICE_ID, ...more });
  }

  deprovision(id: string, plan: Plan): Promise<OsbAnswer> {
    const query = `service_id=${SERVICE_ID}&plan_id=${plan.id}&accepts_incomplete=true`;
    return this.call('DELETE', `service_instances/${id}?${query}`);
  }

  /** Without `app`: a service key. */
  bind(id: string, binding: string, plan: Plan, app?: string): Promise<OsbAnswer> {
    const where = app === undefined ? {} : { bind_resource: { app_guid: app, space_guid: 'space-1' }, app_guid: app };
    const context = { platform: 'cloudfoundry', space_guid: 'space-1' };
    const body = { service_id: SERVICE_ID, plan_id: plan.id, context, ...where };
    return this.call('PUT', `service_instances/${id}/service_bindings/${binding}?accepts_incomplete=true`, body);
  }

  unbind(id: string, binding: string, plan: Plan): Promise<OsbAnswer> {
    const query = `service_id=${SERVICE_ID}&plan_id=${plan.id}&accepts_incomplete=true`;
    return this.call('DELETE', `service_instances/${id}/service_bindings/${binding}?${query}`);
  }

  /** Binds, asking again as long as the broker wants. */
  async credentials(id: string, binding: string, plan: Plan, app?: string): Promise<Credentials> {
    const answer = await this.bind(id, binding, plan, app);
    if (answer.status === 202) {
      const path = `service_instances/${id}/service_bindings/${binding}`;
      await this.#poll(`${path}/last_operation`, ['succeeded']);
      return (await this.call('GET', path)).body['credentials'] as Credentials;
    }
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body['credentials'] as Credentials;
  }

  async unbound(id: string, binding: string, plan: Plan): Promise<void> {
    const answer = await this.unbind(id, binding, plan);
    if (answer.status === 200) return;
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    await this.#poll(`service_instances/${id}/service_bindings/${binding}/last_operation`, ['gone']);
  }

  /** What an operation comes to: `succeeded`, `failed`, or `gone`; and in which words. */
  async ended(id: string, { body, status }: OsbAnswer): Promise<{ state: string; description: string }> {
    assert.equal(status, 202, JSON.stringify(body));
    return await this.#poll(`service_instances/${id}/last_operation?operation=${body.operation}`, [
      'succeeded',
      'failed',
      'gone',
    ]);
  }

  async succeeded(id: string, answer: OsbAnswer): Promise<string> {
    const { state, description } = await this.ended(id, answer);
    assert.equal(state, 'succeeded', description);
    return description;
  }

  async #poll(path: string, ends: string[]): Promise<{ state: string; description: string }> {
    for (const end = Date.now() + 600_000; ; await delay(100)) {
      const { status, body } = await this.call('GET', path);
      assert.ok(status === 200 || status === 410, `${status} ${JSON.stringify(body)}`);
      const state = status === 410 ? 'gone' : (body.state ?? '');
      if (ends.includes(state)) return { state, description: body.description ?? '' };
      assert.equal(state, 'in progress', JSON.stringify(body));
      assert.ok(Date.now() < end, `${path}: ${JSON.stringify(body)}`);
    }
  }
}
