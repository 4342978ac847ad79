/** The commands that run something in an app: tasks, and ssh. Named and meant as in cf. */
import type { Command } from 'commander';
import type { SshFlags } from './commands/ssh.ts';
import type { TaskFlags } from './commands/tasks.ts';
import type { SpaceContext } from './context.ts';

type InSpace = (work: (context: SpaceContext) => Promise<void>) => Promise<void>;

export function addTaskCommands(program: Command, inSpace: InSpace): void {
  type Commands = typeof import('./commands/tasks.ts');
  const load = (work: (commands: Commands, context: SpaceContext) => Promise<void>): Promise<void> =>
    inSpace(async (context) => work(await import('./commands/tasks.ts'), context));
  program
    .command('run-task')
    .argument('<app>')
    .description('run a command once, with the droplet and the variables of an app')
    .option('-c, --command <command>', 'what to run')
    .option('--process <type>', 'the command and the size of this process, where no other is said')
    .option('--name <name>', 'of the task; default: a random one')
    .option('-m, --memory <size>', 'its memory, such as 256M')
    .option('-k, --disk <size>', 'its disk, such as 1G')
    .option('-w, --wait', 'until it has ended; an error when it fails')
    .action((name: string, options: TaskFlags) =>
      load((commands, context) => commands.runTask(context, name, options)),
    );
  program
    .command('tasks')
    .argument('<app>')
    .description('list the tasks of an app, and what came of them')
    .option('--json', 'machine-readable')
    .action((name: string, options: TaskFlags) => load((commands, context) => commands.tasks(context, name, options)));
  program
    .command('terminate-task')
    .argument('<app>')
    .argument('<id>')
    .description('stop a task')
    .action((name: string, id: string) => load((commands, context) => commands.terminateTask(context, name, id)));
}

export function addSshCommands(program: Command, inSpace: InSpace): void {
  type Commands = typeof import('./commands/ssh.ts');
  const load = (work: (commands: Commands, context: SpaceContext) => Promise<void>): Promise<void> =>
    inSpace(async (context) => work(await import('./commands/ssh.ts'), context));
  const collect = (value: string, before: string[] = []): string[] => [...before, value];
  program
    .command('ssh')
    .argument('<app>')
    .description('a shell in an instance of an app, a command, or its ports')
    .option('-i, --app-instance-index <number>', 'which instance; default 0')
    .option('--process <type>', 'which process; default web')
    .option('-c, --command <command>', 'instead of a shell; its exit status is ours')
    .option('-L <forward>', 'a port of this machine leads there: [ADDRESS:]PORT:HOST:PORT; may be repeated', collect)
    .option('-N, --skip-remote-execution', 'nothing but forwarded ports, until it is interrupted')
    .option('-t, --request-pseudo-tty', 'a terminal for a command too')
    .option('-T, --disable-pseudo-tty', 'no terminal for a shell')
    .action((name: string, options: SshFlags) => load((commands, context) => commands.ssh(context, name, options)));
  program
    .command('ssh-code')
    .description('a password for other clients of ssh: good once, for minutes')
    .action(() => load((commands, context) => commands.sshCode(context)));
}
