/** Every command and its flags. The work of each is in `commands/`, loaded when it is asked for. */
import { Command } from 'commander';
import type { ApiFlags } from './api-flags.ts';
import { withApiOptions } from './commands/api-options.ts';
import type { EngineFlags } from './commands/engine-flags.ts';
import { withEngineOptions } from './commands/engine-options.ts';
import { type NetworkFlags, withNetworkOptions } from './commands/network-options.ts';
import { nodeFlagsOf, withNodeOptions } from './commands/node-options.ts';
import { withRouterOptions } from './commands/router-options.ts';
import type { UpFlags } from './commands/up.ts';
import type { InstanceFlags } from './instance.ts';
import type { NodeFlags } from './node-flags.ts';

interface GlobalOptions extends InstanceFlags {
  json?: boolean;
}

export async function createProgram(words: string[]): Promise<Command> {
  const program = new Command('sampan')
    .description('A platform for your applications on your own machines: push, and forget.')
    .option('--name <name>', 'which instance (SAMPAN_NAME; default sampan)')
    .option('--data <directory>', 'where the instance keeps everything (SAMPAN_DATA; default /var/lib/sampan)')
    .option('--domain <domain>', 'the domain of the apps (SAMPAN_DOMAIN; default sampan.localhost)')
    .option('--http <port>', 'port for http (SAMPAN_HTTP; default 80, 8080 when taken; 0 picks a free one)')
    .option('--https <port>', 'port for https (SAMPAN_HTTPS; default 443, 8443 when taken)')
    .option('--kubernetes <port>', 'port of the Kubernetes API (SAMPAN_KUBERNETES; default 6443)')
    .option('--registry <port>', 'port of the image registry (SAMPAN_REGISTRY; default 5000)')
    .option('--ssh <port>', 'port of the proxy for cf ssh (SAMPAN_SSH; default 2222)')
    .option('--store <driver>', 'where the cluster keeps its state, sqlite or etcd (SAMPAN_STORE; default sqlite)')
    .option('--etcd-endpoints <urls>', 'the members of etcd, as https://HOST:PORT,… (SAMPAN_ETCD_ENDPOINTS)')
    .option('--etcd-ca <file>', "the authority of etcd's certificates (SAMPAN_ETCD_CA)")
    .option('--etcd-cert <file>', 'the certificate to show to etcd (SAMPAN_ETCD_CERT)')
    .option('--etcd-key <file>', 'its key (SAMPAN_ETCD_KEY)')
    .option('--etcd-prefix <prefix>', 'where in etcd the state lies (SAMPAN_ETCD_PREFIX; default /sampan/NAME)')
    .showHelpAfterError('(see `sampan --help`)')
    .exitOverride();
  const flags = (): GlobalOptions => program.opts<GlobalOptions>();

  withRouterOptions(withNodeOptions(withApiOptions(withEngineOptions(withNetworkOptions(program.command('up'))))))
    .description('start the platform, and return when it is ready')
    .option('--foreground', 'stay, and stop the platform when interrupted')
    .option(
      '--load-balancer-pool <ranges>',
      'addresses for Services of type LoadBalancer, such as 192.0.2.200/29, with --dual-stack on of IPv6 too; kept; taken up when the processes start',
    )
    .option(
      '--allow-host-path <directory...>',
      'let pods mount what lies below these directories of this machine; kept, "" takes them back',
    )
    .option(
      '--allow-risk <risk...>',
      'let pods be unconfined, have host-namespaces, or be privileged; each includes those before; kept, "" takes them back',
    )
    .option(
      '--allow-sysctl <name...>',
      'let pods set these kernel parameters besides the safe ones, such as net.core.*; kept, "" takes them back',
    )
    .option(
      '--allow-outbound <range...>',
      'let drains of logs reach these addresses of the platform itself, such as 127.0.0.1/32; kept, "" takes them back; taken up when the platform starts',
    )
    .option(
      '--tcp-ports <range>',
      'ports for TCP routes (SAMPAN_TCP_PORTS; default 1024-1123, another hundred for each further instance), or none; kept',
    )
    .option('--engine-defaults', "forget what earlier starts were told of the engine; this one's flags hold")
    .addHelpText(
      'after',
      '\nFlags of the engine are kept with the instance: they hold at every later start, each until it is given anew.\n' +
        'Where they change, the agent is started again; apps go on.',
    )
    .action(async ({ loadBalancerPool, dualStack, cniConfig, cniBin, ...options }: UpFlags) => {
      const { allowHostPath, allowRisk, allowSysctl, allowOutbound, tcpPorts, ...others } = options;
      const [node, rest] = nodeFlagsOf(others);
      const allowed = { allowHostPath, allowRisk, allowSysctl, allowOutbound };
      const network = { dualStack, cniConfig, cniBin, loadBalancerPool, tcpPorts };
      const instance = { ...flags(), ...node, ...allowed, ...network };
      await (await import('./commands/up.ts')).up(instance, rest);
    });
  program
    .command('down')
    .description('stop the platform and every app; what they keep stays')
    .option('--purge', 'remove everything of this instance from the machine')
    .action(async (options: { purge?: boolean }) => (await import('./commands/down.ts')).down(flags(), options));
  const engine = withEngineOptions(program.command('engine'))
    .description('run the engine alone, with registry and Docker API, until interrupted')
    .addHelpText(
      'after',
      '\nWhere the engine keeps everything and where its registry answers: --name, --data, --registry, before the word\n' +
        'engine (see `sampan --help`). A guide is in docs/guides/engine.md.',
    )
    .action(async (options: EngineFlags) => (await import('./commands/engine.ts')).engine(flags(), options));
  engine
    .command('fsck')
    .description(
      'check what the engine keeps: blobs, names, layers, records; exit status as fsck(8): 0, 1 mended, 4 left, 8 not done',
    )
    .option('--repair', 'mend what can be mended; no engine may run')
    .option('--json', 'machine-readable')
    .action(async (options: { repair?: boolean; json?: boolean }) =>
      (await import('./commands/fsck.ts')).engineFsck(flags(), options),
    );
  withNodeOptions(withApiOptions(withNetworkOptions(program.command('cluster'))))
    .description('run the cluster without the platform, for kubectl, until interrupted; its pods go on')
    .action(async ({ dualStack, cniConfig, cniBin, ...options }: ApiFlags & NodeFlags & NetworkFlags) => {
      const [node, api] = nodeFlagsOf(options);
      await (await import('./commands/cluster.ts')).cluster({ ...flags(), ...node, dualStack, cniConfig, cniBin }, api);
    });
  program
    .command('status')
    .description('show what runs and where it answers')
    .option('--json', 'machine-readable')
    .action(async (options: { json?: boolean }) => (await import('./commands/status.ts')).status(flags(), options));
  program
    .command('backup')
    .description('save everything that brings the instance back but images and volumes, also while it runs')
    .argument('<file>', '- for standard output')
    .action(async (file: string) => (await import('./commands/backup.ts')).backup(flags(), file));
  program
    .command('restore')
    .description('bring an instance that is down, or a new one, to what a backup holds')
    .argument('<file>', '- for standard input')
    .action(async (file: string) => (await import('./commands/restore.ts')).restore(flags(), file));
  program
    .command('store')
    .description("where the cluster's state is kept")
    .command('move')
    .description('take the state of an instance that is down to another driver, and compare every key')
    .requiredOption('--to <driver>', 'sqlite, or etcd with --etcd-endpoints and its kin')
    .action(async (options: { to: string }) => (await import('./commands/store.ts')).moveStore(flags(), options));
  program
    .command('rotate-keys')
    .description('a new key for Secrets at rest (encryption), or for tokens (service-accounts), also while it runs')
    .argument('<kind>', 'encryption or service-accounts')
    .option('--retire', 'of service-accounts: refuse from now on what older keys signed')
    .action(async (kind: string, options: { retire?: boolean }) =>
      (await import('./commands/rotate-keys.ts')).rotateKeys(flags(), kind, options),
    );
  program
    .command('doctor')
    .description('check what this machine needs, and say how to mend it')
    .option('--fix', 'install what is missing')
    .option('--json', 'machine-readable')
    .action(async (options: { fix?: boolean; json?: boolean }) =>
      (await import('./commands/doctor.ts')).doctor(flags(), options),
    );
  program
    .command('quickstart')
    .description('install, start, push an example and show it')
    .action(async () => (await import('./commands/quickstart.ts')).quickstart(flags()));
  program
    .command('kubeconfig')
    .description('print a kubeconfig for this instance (administrator)')
    .action(async () => (await import('./commands/kubeconfig.ts')).kubeconfig(flags()));
  program
    .command('test')
    .description('run every test of the project')
    .allowUnknownOption()
    .argument('[words...]')
    .action(async (rest: string[]) => (await import('./commands/test.ts')).test(rest));
  program
    .command('check')
    .description('run the checks of the project: types, lint, format, layers, dead code')
    .action(async () => (await import('./commands/test.ts')).check());
  program
    .command('bench')
    .description('measure beside real peers')
    .argument('[names...]')
    .action(async (names: string[]) => (await import('./commands/test.ts')).bench(names));
  program
    .command('version')
    .description('print the version')
    .option('--json', 'machine-readable')
    .action(async (options: { json?: boolean }) => (await import('./commands/version.ts')).version(options));

  const { addAppCommands } = await import('#cli/program.ts');
  const { localTarget } = await import('./local-target.ts');
  addAppCommands(program, { target: (api) => localTarget(flags(), api) });
  // A task has a name too: what stands behind the command is the command's own, and an instance is named before it.
  if (words.includes('run-task')) program.enablePositionalOptions();
  return parseReady(program, words);
}

/** commander reads `process.argv`; the words are given so that tests need not change it. */
function parseReady(program: Command, words: string[]): Command {
  const parse = program.parseAsync.bind(program);
  program.parseAsync = () => parse(words, { from: 'user' });
  return program;
}
