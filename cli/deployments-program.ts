/** The commands for deployments and revisions, named and meant as in cf. */
import type { Command } from 'commander';
import type { RollbackFlags } from './commands/deployments.ts';
import type { SpaceContext } from './context.ts';

type Commands = typeof import('./commands/deployments.ts');

export function addDeploymentCommands(
  program: Command,
  inSpace: (work: (context: SpaceContext) => Promise<void>) => Promise<void>,
): void {
  const load = (work: (commands: Commands, context: SpaceContext) => Promise<void>): Promise<void> =>
    inSpace(async (context) => work(await import('./commands/deployments.ts'), context));
  program
    .command('revisions')
    .argument('<name>')
    .description("list an app's revisions: what it ran, and can run again")
    .option('--json', 'machine-readable')
    .action((name: string, options: { json?: boolean }) =>
      load((commands, context) => commands.revisions(context, name, options)),
    );
  program
    .command('rollback')
    .argument('<name>')
    .description('bring an older revision of an app back, without an interruption')
    .requiredOption('--version <number>', 'which revision; see `revisions`')
    .option('--strategy <strategy>', 'rolling (default) or canary')
    .option('-f, --force', 'ask nothing')
    .action((name: string, options: RollbackFlags) =>
      load((commands, context) => commands.rollback(context, name, options)),
    );
  program
    .command('continue-deployment')
    .argument('<name>')
    .description('let a canary that waits go on')
    .option('--no-wait', 'return at once')
    .action((name: string, options: { wait: boolean }) =>
      load((commands, context) => commands.continueDeployment(context, name, options)),
    );
  program
    .command('cancel-deployment')
    .argument('<name>')
    .description('take a deployment back: the old version serves alone again')
    .action((name: string) => load((commands, context) => commands.cancelDeployment(context, name)));
}
