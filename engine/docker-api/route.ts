import type { Call } from './call.ts';

export interface Route {
  method: string;
  /** A parameter in braces is one component; `{name}` of an image takes slashes too. */
  path: string;
  /** What it does, for the reference page. */
  summary?: string;
  handle?: (call: Call) => Promise<void>;
}
