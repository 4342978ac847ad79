/** Which of the offered runtimes of a language the source gets. What a source asks for, and in which words, is its buildpack's own. */
import { offeredRuntimes, planRuntimes, type RuntimeOffer } from './runtimes.ts';
import { satisfiesVersion } from './specifiers.ts';
import { AppError, detail, step } from './words.ts';

export interface AskedVersion {
  /** File or variable, for messages. */
  where: string;
  /** As it stands there. */
  specifier: string;
}

export type VersionChoice = { runtime: RuntimeOffer; asked: AskedVersion | undefined } | { problem: string };

export interface ChoiceOptions {
  /** As offers name it: `ruby`. */
  language: string;
  /** For people: `Ruby`. */
  label: string;
  /** Undefined: the newest. */
  asked: AskedVersion | undefined;
  /** What was asked for, in the words of `satisfiesVersion`; default as it stands. */
  comparable?: (asked: AskedVersion) => string;
  /** What takes this minor version, with its fixes, where another was asked for; default the version itself. */
  remedy?: (minor: string, asked: AskedVersion) => string;
}

export function chooseVersion({ language, label, asked, comparable, remedy }: ChoiceOptions): VersionChoice {
  const offers = offeredRuntimes(language).toReversed();
  const newest = offers[0];
  if (newest === undefined) return { problem: `this platform offers no ${label}: its Debian release has none` };
  if (asked === undefined) return { runtime: newest, asked };
  const specifier = comparable?.(asked) ?? asked.specifier;
  const runtime = offers.find(({ version }) => satisfiesVersion(version, specifier));
  if (runtime !== undefined) return { runtime, asked };
  const there = offers.map(({ version }) => version).join(', ');
  const minor = newest.version.split('.').slice(0, 2).join('.');
  return {
    problem: `${asked.where} asks for ${label} ${JSON.stringify(asked.specifier)}, which cannot be had; there is ${label} ${there}; write ${remedy?.(minor, asked) ?? minor} there to take it with its fixes`,
  };
}

/** What is left of a `bin/detect` when there is a file of the language: it asks for the runtime. */
export function detectLanguage(language: string, choice: VersionChoice): void {
  const [, plan] = process.argv.slice(2);
  if (plan === undefined) throw new Error('usage: detect PLATFORM PLAN');
  planRuntimes(plan, language, 'runtime' in choice ? [choice.runtime.name] : []);
}

/** What `bin/build` begins with. @throws AppError when there is none */
export function chosenRuntime(label: string, choice: VersionChoice): RuntimeOffer {
  step('Runtime');
  if ('problem' in choice) throw new AppError(choice.problem);
  const { runtime, asked } = choice;
  if (asked === undefined) detail(`the source names no version: taking ${label} ${runtime.version}`);
  else detail(`${asked.where} ${asked.specifier}: ${label} ${runtime.version}`);
  return runtime;
}
