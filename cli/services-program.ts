/** The commands for services, named and meant as in cf. */
import type { Command } from 'commander';
import type { BrokerFlags } from './commands/brokers.ts';
import type { ServiceFlags } from './commands/services.ts';
import type { SpaceContext } from './context.ts';

type InSpace = (work: (context: SpaceContext) => Promise<void>) => Promise<void>;
type Commands = typeof import('./commands/services.ts');

const json = ['--json', 'machine-readable'] as const;
const wait = ['-w, --wait', 'until the broker is done'] as const;
const force = ['-f, --force', 'ask nothing'] as const;
const parameters = ['-c, --parameters <json>', 'a JSON object for the broker, or a file of one'] as const;
const tags = ['-t, --tags <tags>', 'tags, with commas between'] as const;

export function addServiceCommands(program: Command, inSpace: InSpace): void {
  const load = (work: (commands: Commands, context: SpaceContext) => Promise<void>): Promise<void> =>
    inSpace(async (context) => work(await import('./commands/services.ts'), context));
  program
    .command('services')
    .alias('s')
    .description('list the services of the space')
    .option(...json)
    .action((options: ServiceFlags) => load((commands, context) => commands.services(context, options)));
  program
    .command('service')
    .argument('<service>')
    .description('show a service, and what is done to it')
    .option(...json)
    .action((name: string, options: ServiceFlags) =>
      load((commands, context) => commands.service(context, name, options)),
    );
  program
    .command('marketplace')
    .alias('m')
    .description('list what brokers offer')
    .option('-e, --offering <name>', 'of this offering alone')
    .option(...json)
    .action((options: ServiceFlags) => load((commands, context) => commands.marketplace(context, options)));
  program
    .command('create-service')
    .argument('<offering>')
    .argument('<plan>')
    .argument('<service>')
    .description('have a broker make a service')
    .option('-b, --broker <name>', 'of this broker')
    .option(...parameters)
    .option(...tags)
    .option(...wait)
    .action((offering: string, plan: string, name: string, options: ServiceFlags) =>
      load((commands, context) => commands.createService(context, [offering, plan, name], options)),
    );
  program
    .command('update-service')
    .argument('<service>')
    .description("change a service's plan, parameters or tags")
    .option('-p, --plan <plan>', 'another plan of its offering')
    .option(...parameters)
    .option(...tags)
    .option(...wait)
    .action((name: string, options: ServiceFlags) =>
      load((commands, context) => commands.updateService(context, name, options)),
    );
  program
    .command('upgrade-service')
    .argument('<service>')
    .description('bring a service to the version of its plan')
    .option(...wait)
    .option(...force)
    .action((name: string, options: ServiceFlags) =>
      load((commands, context) => commands.upgradeService(context, name, options)),
    );
  program
    .command('delete-service')
    .argument('<service>')
    .description('delete a service with its bindings and keys')
    .option(...wait)
    .option(...force)
    .action((name: string, options: ServiceFlags) =>
      load((commands, context) => commands.deleteService(context, name, options)),
    );
  addBindingCommands(program, load);
  addBrokerCommands(program, inSpace);
}

function addBindingCommands(
  program: Command,
  load: (work: (commands: Commands, context: SpaceContext) => Promise<void>) => Promise<void>,
): void {
  program
    .command('bind-service')
    .argument('<app>')
    .argument('<service>')
    .description('tell an app of a service, from its next start on')
    .option('--binding-name <name>', 'how the app knows it')
    .option(...parameters)
    .option(...wait)
    .action((app: string, name: string, options: ServiceFlags) =>
      load((commands, context) => commands.bindService(context, [app, name], options)),
    );
  program
    .command('unbind-service')
    .argument('<app>')
    .argument('<service>')
    .description('tell an app of a service no more')
    .option(...wait)
    .action((app: string, name: string, options: ServiceFlags) =>
      load((commands, context) => commands.unbindService(context, [app, name], options)),
    );
  program
    .command('create-service-key')
    .argument('<service>')
    .argument('<key>')
    .description('credentials of a service for yourself')
    .option(...parameters)
    .option(...wait)
    .action((name: string, key: string, options: ServiceFlags) =>
      load((commands, context) => commands.createServiceKey(context, [name, key], options)),
    );
  program
    .command('service-keys')
    .argument('<service>')
    .description('list the keys of a service')
    .option(...json)
    .action((name: string, options: ServiceFlags) =>
      load((commands, context) => commands.serviceKeys(context, name, options)),
    );
  program
    .command('service-key')
    .argument('<service>')
    .argument('<key>')
    .description("show a key's credentials")
    .action((name: string, key: string) => load((commands, context) => commands.serviceKey(context, [name, key])));
  program
    .command('delete-service-key')
    .argument('<service>')
    .argument('<key>')
    .description('delete a key')
    .option(...wait)
    .option(...force)
    .action((name: string, key: string, options: ServiceFlags) =>
      load((commands, context) => commands.deleteServiceKey(context, [name, key], options)),
    );
}

function addBrokerCommands(program: Command, inSpace: InSpace): void {
  const load = (
    work: (commands: typeof import('./commands/brokers.ts'), context: SpaceContext) => Promise<void>,
  ): Promise<void> => inSpace(async (context) => work(await import('./commands/brokers.ts'), context));
  const place = (command: Command): Command =>
    command.argument('<broker>').argument('<username>').argument('<password>').argument('<url>');
  place(program.command('create-service-broker'))
    .description('register a broker, and read its catalog')
    .option('--space-scoped', 'for this space alone')
    .action((name: string, username: string, password: string, url: string, options: BrokerFlags) =>
      load((commands, context) => commands.createBroker(context, [name, username, password, url], options)),
    );
  place(program.command('update-service-broker'))
    .description("change a broker's login and address, and read its catalog again")
    .action((name: string, username: string, password: string, url: string) =>
      load((commands, context) => commands.updateBroker(context, [name, username, password, url])),
    );
  program
    .command('service-brokers')
    .description('list brokers')
    .option(...json)
    .action((options: BrokerFlags) => load((commands, context) => commands.brokers(context, options)));
  program
    .command('delete-service-broker')
    .argument('<broker>')
    .description('delete a broker of whose services there are none')
    .option(...force)
    .action((name: string, options: BrokerFlags) =>
      load((commands, context) => commands.deleteBroker(context, name, options)),
    );
  for (const enabled of [true, false]) {
    program
      .command(enabled ? 'enable-service-access' : 'disable-service-access')
      .argument('<offering>')
      .description(enabled ? 'open an offering to everybody or to some' : 'close an offering')
      .option('-p, --plan <plan>', 'this plan alone')
      .option('-o, --organization <name>', 'for this organization alone')
      .option('-b, --broker <name>', 'of this broker')
      .action((offering: string, options: BrokerFlags) =>
        load((commands, context) => commands.serviceAccess(context, offering, { ...options, enabled })),
      );
  }
}
