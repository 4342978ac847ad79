/** Tasks: commands that run once, beside an app, with its droplet and its variables. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Api } from '../api.ts';
import { requireApp, type SpaceContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { note, print, printJson, table } from '../output.ts';
import type { Page, Task } from '../resources.ts';
import { count, megabytes } from '../sizes.ts';
import { requireProcess } from './processes.ts';

export interface TaskFlags {
  command?: string;
  process?: string;
  name?: string;
  memory?: string;
  disk?: string;
  wait?: boolean;
  json?: boolean;
}

export async function runTask(context: SpaceContext, name: string, options: TaskFlags): Promise<void> {
  const { command, process, memory, disk } = options;
  if (command === undefined && process === undefined)
    throw new CliError('Nothing is to be run.', 'Give --command COMMAND, or --process TYPE for its command.');
  const { api } = context;
  const app = await requireApp(context, name);
  const template = process === undefined ? undefined : await requireProcess(api, app, process);
  const task = await api.post<Task>(`/v3/apps/${app.guid}/tasks`, {
    ...(command === undefined ? {} : { command }),
    ...(template === undefined ? {} : { template: { process: { guid: template.guid } } }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(memory === undefined ? {} : { memory_in_mb: megabytes(memory, '-m') }),
    ...(disk === undefined ? {} : { disk_in_mb: megabytes(disk, '-k') }),
  });
  note(`The task ${task.name} of ${name} is number ${task.sequence_id}. See \`sampan logs ${name} --recent\`.`);
  if (options.wait) await waitEnded(api, name, task);
}

export async function tasks(context: SpaceContext, name: string, options: TaskFlags): Promise<void> {
  const app = await requireApp(context, name);
  const list = await context.api.all<Task>(`/v3/apps/${app.guid}/tasks?order_by=-created_at`);
  if (options.json) return printJson(list);
  if (list.length === 0) return print(`${name} has no tasks. Run one: \`sampan run-task ${name} --command COMMAND\`.`);
  const rows = list.map((task) => [
    String(task.sequence_id),
    task.name,
    task.state,
    task.created_at,
    task.command ?? '',
    task.result.failure_reason ?? '',
  ]);
  print(table(rows, ['id', 'name', 'state', 'created at', 'command', 'reason']));
}

export async function terminateTask(context: SpaceContext, name: string, id: string): Promise<void> {
  const { api } = context;
  const app = await requireApp(context, name);
  const number = count(id, 'ID');
  const [task] = (await api.get<Page<Task>>(`/v3/apps/${app.guid}/tasks?sequence_ids=${number}`)).resources;
  if (!task) throw new CliError(`${name} has no task ${number}.`, `See \`sampan tasks ${name}\`.`);
  await api.post(`/v3/tasks/${task.guid}/actions/cancel`);
  note(`The task ${task.name} is stopped.`);
}

async function waitEnded(api: Api, app: string, { guid, name }: Task): Promise<void> {
  for (let wait = 50; ; wait = Math.min(wait * 1.5, 1000)) {
    // The platform may start again meanwhile.
    const { state, result } = await api.getSettled<Task>(`/v3/tasks/${guid}`, 10);
    if (state === 'SUCCEEDED') return note(`The task ${name} is done.`);
    if (state === 'FAILED')
      throw new CliError(
        `The task ${name} failed: ${result.failure_reason ?? 'nobody knows why'}.`,
        `Read its lines with \`sampan logs ${app} --recent\`.`,
      );
    await delay(wait);
  }
}
