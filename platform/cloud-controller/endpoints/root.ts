/** Where a client begins: links, versions, and the jobs that it polls. */
import { SSH_CLIENT_ID } from '../../uaa/uaa.ts';
import { type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { link } from '../present/base.ts';
import { presentJob } from '../present/routes.ts';
import { changesOf, requestJob } from '../request-jobs.ts';
import { whenSettled } from '../waiting.ts';

/** Of Cloud Foundry's API that this is written to: clients compare it with what they need. */
export const API_VERSION = '3.211.0';
/** The last one that there was: of version 2 nothing else is here. */
const V2_VERSION = '2.250.0';

function sshLink({ ssh }: Context): Json | null {
  if (!ssh) return null;
  return { href: ssh.endpoint, meta: { host_key_fingerprint: ssh.fingerprint, oauth_client: SSH_CLIENT_ID } };
}

export function rootEndpoints(context: Context): Endpoint[] {
  const { urls } = context;
  const v3 = `${urls.api}/v3`;
  return [
    {
      method: 'GET',
      path: '/',
      auth: 'none',
      summary: 'Show where the parts of the platform are.',
      handle: () =>
        ok({
          links: {
            self: link(urls.api),
            bits_service: null,
            cloud_controller_v2: null,
            cloud_controller_v3: { href: v3, meta: { version: API_VERSION } },
            network_policy_v0: null,
            network_policy_v1: link(`${urls.api}/networking/v1/external`),
            login: link(urls.login),
            uaa: link(urls.uaa),
            credhub: null,
            routing: link(`${urls.api}/routing`),
            logging: null,
            log_cache: link(urls.logCache),
            log_stream: null,
            app_ssh: sshLink(context),
          },
        }),
    },
    {
      method: 'GET',
      path: '/v3',
      auth: 'none',
      summary: 'Show the resources of the API.',
      handle: () => {
        const names = [
          'apps',
          'audit_events',
          'buildpacks',
          'builds',
          'deployments',
          'domains',
          'droplets',
          'feature_flags',
          'info',
          'isolation_segments',
          'organizations',
          'organization_quotas',
          'packages',
          'processes',
          'resource_matches',
          'revisions',
          'roles',
          'routes',
          'security_groups',
          'service_brokers',
          'service_credential_bindings',
          'service_instances',
          'service_offerings',
          'service_plans',
          'spaces',
          'space_quotas',
          'stacks',
          'tasks',
          'users',
        ];
        const links: Json = { self: link(v3) };
        for (const name of names) links[name] = link(`${v3}/${name}`);
        return ok({ links });
      },
    },
    {
      method: 'GET',
      path: '/v3/info',
      auth: 'none',
      summary: 'Show name and version of the platform.',
      handle: () => {
        const { enabled, general, resetIntervalInMinutes } = context.rates.limits();
        return ok({
          build: context.version,
          cli_version: { minimum: '', recommended: '' },
          custom: { default_domain: context.domain },
          description: 'Sampan: a self-hosted platform',
          name: 'sampan',
          version: 0,
          osbapi_version: '2.17',
          rate_limits: {
            enabled,
            general_limit: enabled ? general : null,
            reset_interval_in_minutes: enabled ? resetIntervalInMinutes : null,
          },
          links: { self: link(`${v3}/info`), support: link('') },
        });
      },
    },
    {
      method: 'GET',
      path: '/v2/info',
      auth: 'none',
      summary: 'Show where the parts of the platform are, to clients that know no other place.',
      handle: () =>
        ok({
          name: 'sampan',
          build: context.version,
          support: '',
          version: 0,
          description: 'Sampan: a self-hosted platform',
          authorization_endpoint: urls.login,
          token_endpoint: urls.uaa,
          api_version: V2_VERSION,
          osbapi_version: '2.17',
          app_ssh_endpoint: context.ssh?.endpoint ?? null,
          app_ssh_host_key_fingerprint: context.ssh?.fingerprint ?? null,
          app_ssh_oauth_client: SSH_CLIENT_ID,
          logging_endpoint: null,
          doppler_logging_endpoint: null,
          log_cache_endpoint: urls.logCache,
        }),
    },
    {
      method: 'GET',
      path: '/healthz',
      auth: 'none',
      summary: 'Say that the cloud controller answers.',
      handle: () => ({ status: 200, type: 'text/plain', body: 'ok\n' }),
    },
    {
      method: 'GET',
      path: '/v3/jobs/:guid',
      auth: 'user',
      summary: 'Get the state of asynchronous work.',
      handle: async (request) => {
        const guid = request.params.guid ?? '';
        const read = () => requestJob(context, guid) ?? context.jobs.get(guid);
        await whenSettled(request, changesOf(context, guid), () => read()?.state !== 'PROCESSING');
        const job = read();
        if (!job) throw notFound('Job');
        return ok(presentJob(urls, job));
      },
    },
  ];
}
