import type { Call } from './call.ts';

export interface Route {
  method: string;
  /** A parameter in braces is one component; `{name}` of an image takes slashes too. */
  path: string;
  /** What it does, for the reference page. */
  summary?: string;
  handle?: (call: Call) => Promise<void>;
  /** Default: `supported` with a handler, `absent` without. */
  state?: 'supported' | 'partial' | 'absent';
  /** What is missing of it, or why it is not there. */
  note?: string;
  /** The test file that shows it with a real client, or that shows how it is refused. */
  test?: string;
}
