/** Why an app was restarted, moved, or does not start, on one screen. */
import { type SpaceContext, requireApp } from '../context.ts';
import { print, printJson, table } from '../output.ts';

interface Diagnosis {
  summary: string;
  hint: string | null;
  instances: {
    process: string;
    index: number;
    state: string;
    ready: boolean;
    restarts: number;
    since: string | null;
    node: string | null;
  }[];
  findings: { kind: string; at: string; message: string; process: string; index: number | null; lines?: string[] }[];
  changes: { at: string; message: string }[];
}

export async function why(context: SpaceContext, name: string, options: { json?: boolean }): Promise<void> {
  const app = await requireApp(context, name);
  const diagnosis = await context.api.get<Diagnosis>(`/v3/apps/${app.guid}/why`);
  if (options.json) return printJson(diagnosis);
  print(whyText(diagnosis));
}

export function whyText({ summary, hint, instances, findings, changes }: Diagnosis): string {
  const parts = [summary + (hint === null ? '' : `\n${hint}`)];
  if (instances.length > 0) {
    const rows = instances.map(({ process, index, state, ready, restarts, since, node }) => [
      `${process}/${index}`,
      state.toLowerCase() + (state === 'RUNNING' && !ready ? ', not ready' : ''),
      String(restarts),
      time(since),
      node ?? '',
    ]);
    parts.push(table(rows, ['instance', 'state', 'restarts', 'since', 'node']));
  }
  if (findings.length > 0) {
    const told = findings.map(({ kind, at, message, process, index, lines = [] }) =>
      [
        `  ${time(at)}  ${process}${index === null ? '' : `/${index}`}  ${kind}: ${message}`,
        ...lines.map((line) => `      | ${line}`),
      ].join('\n'),
    );
    parts.push(`what happened\n${told.join('\n')}`);
  }
  if (changes.length > 0) {
    parts.push(`what was changed\n${changes.map(({ at, message }) => `  ${time(at)}  ${message}`).join('\n')}`);
  }
  return parts.join('\n\n');
}

function time(at: string | null): string {
  return at === null ? '' : at.replace(/(\.\d+)?Z$/, '').replace('T', ' ');
}
