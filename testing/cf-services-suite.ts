/** Services by the stock `cf`: part of `test/cf-commands.long.test.ts`. A space `far` and an app `shop` are there. */
import { catalogOf, PLAN, type TestBroker } from '#platform/services/broker.fixture.ts';
import type { CfScript } from './cf-script.ts';

const { raw } = String;

export async function servicesElsewhere(script: CfScript, domain: string): Promise<void> {
  const shop = `${domain} --hostname shop`;
  await script.run(raw`
      create-user-provided-service elsewhere -p '{"uri":"postgres://db.example.com"}'
      update-user-provided-service elsewhere -t one,two
      services                            | ^elsewhere +user-provided
      service elsewhere                   | tags: +one, two
      bind-service shop elsewhere
      services                            | ^elsewhere +user-provided +shop
      bind-service shop elsewhere --strategy multiple
      cleanup-outdated-service-bindings shop -f | Found 1 outdated service binding
      cleanup-outdated-service-bindings shop -f | No outdated service bindings found
      unbind-service shop elsewhere
      rename-service elsewhere somewhere
      delete-service somewhere -f         | OK|deleted
      create-user-provided-service proxy -r https://proxy.example.com
      bind-route-service ${domain} proxy --hostname shop
      routes                              | shop .*proxy
      unbind-route-service ${domain} proxy --hostname shop -f
      delete-service proxy -f             | OK|deleted
      create-user-provided-service drain -l syslog-tls://127.0.0.1:6514
      bind-service shop drain
      service drain                       | syslog drain url: +syslog-tls://127\.0\.0\.1:6514
      unbind-service shop drain
      delete-service drain -f             | OK|deleted
      services                            | No service instances found
      ! create-user-provided-service bad -l ftp://x | syslog drain url must begin with
      ! service nobody                    | Service instance 'nobody' not found
      ! update-user-provided-service nobody -t x | Service instance 'nobody' not found
      ! create-user-provided-service bad -r http://x | must be https
      ! bind-service shop nobody          | Service instance 'nobody' not found
      ! unbind-service shop nobody        | Service instance 'nobody' not found
      ! rename-service nobody x           | Service instance 'nobody' not found
      ! update-service nobody -t x        | Service instance 'nobody' not found
      ! upgrade-service nobody -f         | Service instance 'nobody' not found
      ! bind-route-service ${domain} nobody --hostname shop | Service instance 'nobody' not found
      ! unbind-route-service ${shop} -f nobody | Service instance 'nobody' not found
      ! share-service nobody -s far       | nobody
      ! unshare-service nobody -s far -f  | nobody
      ! create-service-key nobody x       | Service instance 'nobody' not found
      ! service-keys nobody               | Service instance 'nobody' not found
      ! service-key nobody x              | Service instance 'nobody' not found
      ! delete-service-key nobody x -f    | Service instance 'nobody' not found
    `);
}

export async function servicesOfBrokers(script: CfScript, broker: TestBroker): Promise<void> {
  const version = (number: string) => catalogOf({}, [{ ...PLAN, maintenance_info: { version: number } }]);
  const place = `${broker.username} ${broker.password} ${broker.url}`;
  broker.catalog = version('1.0.0');
  await script.run(raw`
      create-service-broker first ${place}
      rename-service-broker first main
      service-brokers                     | ^main +http
      service-access                      | db +small +none
      enable-service-access db -o default
      service-access                      | db +small +limited +default
      disable-service-access db -o default
      enable-service-access db
      marketplace                         | db +small
      create-service db small store       | OK|created
      service store                       | create succeeded
      update-service store -t mine        | OK|complete
      enable-feature-flag service_instance_sharing
      share-service store -s far
      service store                       | shared with spaces?:[\s\S]*far
      unshare-service store -s far -f
      bind-service shop store
      create-service-key store laptop
      service-keys store                  | ^laptop
      service-key store laptop            | bound-secret
      delete-service-key store laptop -f
      unbind-service shop store
      ! service-key store laptop          | No service key laptop found
      ! create-service db nobody x        | could not be found
    `);
  broker.catalog = version('2.0.0');
  await script.run(raw`
      update-service-broker main ${place}
      upgrade-service store -f            | OK|complete
      purge-service-instance store -f
      services                            | No service instances found
      purge-service-offering db -f
      delete-service-broker main -f
      ! create-service-broker own ${place} --space-scoped | Feature Disabled: space_scoped_private_broker_creation
      enable-feature-flag space_scoped_private_broker_creation
      create-service-broker own ${place} --space-scoped
      marketplace                         | db +small
      create-service db small store       | OK|created
      target -s far                       | space: +far
      marketplace                         |! ^db
      target -s dev                       | dev
      delete-service store -f             | OK|deleted
      delete-service-broker own -f
      ! create-service-broker far ${broker.username} ${broker.password} https://127.0.0.2:1 | may not be reached from here
      ! update-service-broker nobody ${place} | Service broker 'nobody' not found
      ! rename-service-broker nobody x    | Service broker 'nobody' not found
      ! enable-service-access nobody      | not found
      ! disable-service-access nobody     | not found
      marketplace -e nobody               | No service offerings found
      ! create-service nobody small x     | could not be found
      ! service-access -e nobody          | not found
      delete-service-broker far -f
      service-brokers                     |! ^(main|own|far)
    `);
}
