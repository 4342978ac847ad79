/** The app commands and their flags, named and meant as in cf. Each command's code is loaded when it is asked for. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Api } from './api.ts';
import type { PushOptions } from './push/push.ts';
import type { LoginOptions } from './commands/login.ts';
import type { RouteFlags } from './commands/routes.ts';
import type { ScaleOptions } from './commands/lifecycle.ts';
import type { SpaceContext } from './context.ts';
import { addDeploymentCommands } from './deployments-program.ts';
import { addServiceCommands } from './services-program.ts';
import { count } from './sizes.ts';
import { addSshCommands, addTaskCommands } from './tasks-program.ts';
import type { Target } from './target.ts';

interface Surroundings {
  /** The platform to speak to, read when a command runs: the one of this API where one is named. */
  target: (api?: string) => Target;
}

async function overApi(target: Target, work: (api: Api) => Promise<void>): Promise<void> {
  await (await import('./context.ts')).withApi(target, work);
}

export function addAppCommands(program: Command, { target }: Surroundings): void {
  const inSpace = async (work: (context: SpaceContext) => Promise<void>): Promise<void> =>
    (await import('./context.ts')).inSpace(target(), work);
  const collect = (value: string, before: string[] = []): string[] => [...before, value];
  const variable = (text: string, before: Record<string, string> = {}): Record<string, string> => {
    const [name = '', ...value] = text.split('=');
    if (name === '' || value.length === 0) throw new InvalidArgumentError('It is not NAME=VALUE.');
    return { ...before, [name]: value.join('=') };
  };
  const json = ['--json', 'machine-readable'] as const;

  program
    .command('push')
    .argument('[name]', 'the app; default: the apps of the manifest')
    .description('push an app from source, or a new version of it')
    .option('-p, --path <path>', "the app's directory, or a jar, a war or a zip of it")
    .option('-i, --instances <number>', 'how many instances', (text: string) => count(text, '-i'))
    .option('-m, --memory <size>', 'memory of an instance, such as 256M')
    .option('-k, --disk <size>', 'disk of an instance, such as 1G')
    .option('-b, --buildpack <name>', 'buildpack; may be repeated', collect)
    .option('--dockerfile <path>', 'build this Dockerfile of the source, whatever buildpack fits')
    .option('--builder <image>', 'build with this builder image of Cloud Native Buildpacks')
    .option('-c, --command <command>', 'start command')
    .option('-f, --manifest <path>', 'manifest')
    .option('-o, --docker-image <reference>', 'a prebuilt image instead of source')
    .option('--docker-username <name>', 'for a private image; the password is read from CF_DOCKER_PASSWORD')
    .option('-u, --health-check-type <type>', 'port, http or process')
    .option('--endpoint <path>', 'path of the http health check')
    .option('-t, --app-start-timeout <seconds>', 'how long an instance may take until it is healthy', (text: string) =>
      count(text, '-t'),
    )
    .option('--no-route', 'no route')
    .option('--random-route', 'a route with a random name')
    .option('--no-start', 'do not start it')
    .option('--strategy <strategy>', 'rolling (default when it runs), canary or recreate')
    .option('--var <name=value>', 'variable of the manifest; may be repeated', variable)
    .option('--vars-file <path>', 'variables of the manifest, YAML; may be repeated', collect)
    .option(...json)
    .action((name: string | undefined, options: PushOptions & { json?: boolean }) =>
      inSpace(async (context) => {
        const { push } = await import('./push/push.ts');
        const pushed = await push(context, name, options);
        const { showApp } = await import('./commands/apps.ts');
        for (const app of pushed) await showApp(context, app, options);
      }),
    );
  program
    .command('apps')
    .alias('a')
    .description('list the apps of the space')
    .option(...json)
    .action((options: { json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/apps.ts')).apps(context, options)),
    );
  program
    .command('app')
    .argument('<name>')
    .description('show an app and its instances')
    .option('--guid', 'print only its guid')
    .option(...json)
    .action((name: string, options: { json?: boolean; guid?: boolean }) =>
      inSpace(async (context) => (await import('./commands/apps.ts')).app(context, name, options)),
    );
  program
    .command('logs')
    .argument('<name>')
    .description("show an app's log as it is written")
    .option('--recent', 'what was written, then end')
    .option(...json)
    .action((name: string, options: { recent?: boolean; json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/logs.ts')).logs(context, name, options)),
    );
  program
    .command('scale')
    .argument('<name>')
    .description('change how many instances an app has, and how large they are')
    .option('-i, --instances <number>', 'how many instances')
    .option('-m, --memory <size>', 'memory of an instance')
    .option('-k, --disk <size>', 'disk of an instance')
    .option('--process <type>', 'which process; default web')
    .option('-f, --force', 'as in cf; nothing is asked anyway')
    .action((name: string, options: ScaleOptions) =>
      inSpace(async (context) => (await import('./commands/lifecycle.ts')).scale(context, name, options)),
    );
  program
    .command('start')
    .argument('<name>')
    .description('start an app')
    .action((name: string) =>
      inSpace(async (context) => (await import('./commands/lifecycle.ts')).start(context, name)),
    );
  program
    .command('stop')
    .argument('<name>')
    .description('stop an app')
    .action((name: string) =>
      inSpace(async (context) => (await import('./commands/lifecycle.ts')).stop(context, name)),
    );
  program
    .command('restart')
    .argument('<name>')
    .description('stop and start an app; with --strategy rolling without an interruption')
    .option('--strategy <strategy>', 'rolling or canary')
    .action((name: string, options: { strategy?: string }) =>
      inSpace(async (context) => (await import('./commands/lifecycle.ts')).restart(context, name, options)),
    );
  program
    .command('delete')
    .argument('<name>')
    .description('delete an app')
    .option('-f, --force', 'ask nothing')
    .option('-r, --routes', 'its routes too')
    .action((name: string, options: { force?: boolean; routes?: boolean }) =>
      inSpace(async (context) => (await import('./commands/lifecycle.ts')).remove(context, name, options)),
    );
  program
    .command('routes')
    .description('list the routes of the space, and how they answered within the last minute')
    .option(...json)
    .action((options: { json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/routes.ts')).routes(context, options)),
    );
  program
    .command('domains')
    .description('list domains, and the certificates of their hosts')
    .option(...json)
    .action((options: { json?: boolean }) =>
      overApi(target(), async (api) => (await import('./commands/domains.ts')).domains(api, options)),
    );
  program
    .command('set-domain-certificate')
    .argument('<domain>')
    .description('offer a certificate of your own for a domain and hosts below it')
    .requiredOption('--cert <file>', 'certificate and chain, PEM')
    .requiredOption('--key <file>', 'its private key, PEM')
    .action((domain: string, files: { cert: string; key: string }) =>
      overApi(target(), async (api) => (await import('./commands/domains.ts')).setCertificate(api, domain, files)),
    );
  program
    .command('unset-domain-certificate')
    .argument('<domain>')
    .description('take it back')
    .action((domain: string) =>
      overApi(target(), async (api) => (await import('./commands/domains.ts')).unsetCertificate(api, domain)),
    );
  for (const name of ['map-route', 'unmap-route'] as const) {
    program
      .command(name)
      .argument('<app>')
      .argument('<domain>')
      .description(name === 'map-route' ? 'lead a route to an app' : 'take a route from an app')
      .option('-n, --hostname <host>', 'the name before the domain')
      .option('--path <path>', 'only requests below this path')
      .option('--port <port>', 'of a TCP route; a free one when there is none')
      .option('--app-protocol <protocol>', 'http1 or http2')
      .action((app: string, domain: string, flags: RouteFlags) =>
        inSpace(async (context) => {
          const { mapRoute, unmapRoute } = await import('./commands/routes.ts');
          await (name === 'map-route' ? mapRoute : unmapRoute)(context, app, domain, flags);
        }),
      );
  }
  addDeploymentCommands(program, inSpace);
  addServiceCommands(program, inSpace);
  addTaskCommands(program, inSpace);
  addSshCommands(program, inSpace);
  program
    .command('env')
    .argument('<name>')
    .description("show an app's environment variables")
    .option(...json)
    .action((name: string, options: { json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/env.ts')).env(context, name, options)),
    );
  program
    .command('set-env')
    .argument('<name>')
    .argument('<variable>')
    .argument('<value>')
    .description('set an environment variable')
    .action((name: string, key: string, value: string) =>
      inSpace(async (context) => (await import('./commands/env.ts')).setEnv(context, name, key, value)),
    );
  program
    .command('unset-env')
    .argument('<name>')
    .argument('<variable>')
    .description('remove an environment variable')
    .action((name: string, key: string) =>
      inSpace(async (context) => (await import('./commands/env.ts')).unsetEnv(context, name, key)),
    );
  program
    .command('events')
    .argument('<name>')
    .description('what happened to an app')
    .option(...json)
    .action((name: string, options: { json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/env.ts')).events(context, name, options)),
    );
  program
    .command('why')
    .argument('<name>')
    .description('why an app was restarted, moved, or does not start')
    .option(...json)
    .action((name: string, options: { json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/why.ts')).why(context, name, options)),
    );
  program
    .command('rebase')
    .argument('[app]')
    .option('--all', 'every app of the space')
    .description('put the newest stack below an app, without a build')
    .action((name: string | undefined, options: { all?: boolean }) =>
      inSpace(async (context) => (await import('./commands/rebase.ts')).rebase(context, name, options)),
    );
  program
    .command('update-stack')
    .description("make the stack anew of Debian's newest packages (administrators)")
    .action(() => inSpace(async (context) => (await import('./commands/rebase.ts')).updateStack(context)));
  program
    .command('sbom')
    .argument('<name>')
    .description('what an app is made of: CycloneDX in JSON')
    .action((name: string) => inSpace(async (context) => (await import('./commands/sbom.ts')).sbom(context, name)));
  addAccountCommands(program, { target }, inSpace);
}

function addAccountCommands(
  program: Command,
  { target }: Surroundings,
  inSpace: (work: (context: SpaceContext) => Promise<void>) => Promise<void>,
): void {
  const json = ['--json', 'machine-readable'] as const;
  program
    .command('login')
    .description('log in to a platform')
    .option('-a, --api <url>', 'its API, https://api.DOMAIN; default: the instance on this machine')
    .option('-u, --user <name>', 'user name')
    .option('-p, --password <password>', 'password; better --password-file or CF_PASSWORD')
    .option('--password-file <path>', 'file that holds the password')
    .option('--ca <path>', "PEM file with the platform's authority")
    .option('-o, --organization <name>', 'to work in')
    .option('-s, --space <name>', 'to work in')
    .action(async ({ ca, ...options }: LoginOptions & { api?: string; ca?: string }) => {
      const { login } = await import('./commands/login.ts');
      const { readGivenFile } = await import('./given-file.ts');
      const authority =
        ca === undefined ? {} : { ca: readGivenFile(ca, "Give the platform's authority in PEM as --ca.") };
      await overApi({ ...target(options.api), ...authority }, (api) => login(api, options));
    });
  program
    .command('kubernetes-token')
    .description('print the credentials of who is logged in, as kubectl asks for them (a client-go exec plugin)')
    .option('-a, --api <url>', 'the API of the platform; default: the one of the last login')
    .action(async (options: { api?: string }) => {
      const { kubernetesToken } = await import('./commands/login.ts');
      await overApi(target(options.api), kubernetesToken);
    });
  program
    .command('target')
    .description('show or choose the organization and the space')
    .option('-o, --organization <name>')
    .option('-s, --space <name>')
    .action((options: { organization?: string; space?: string }) =>
      overApi(target(), async (api) => (await import('./commands/login.ts')).target(api, options)),
    );
  program
    .command('orgs')
    .description('list the organizations')
    .option(...json)
    .action((options: { json?: boolean }) =>
      overApi(target(), async (api) => (await import('./commands/login.ts')).organizations(api, options)),
    );
  program
    .command('spaces')
    .description('list the spaces of the organization')
    .option(...json)
    .action((options: { json?: boolean }) =>
      inSpace(async (context) => (await import('./commands/login.ts')).spaces(context, options)),
    );
}
