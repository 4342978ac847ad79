/** `features:` of a manifest: what is turned on and off for an app. */
import type { App } from '../../resources/types.ts';
import { isObject } from '../validate.ts';

/** What an app has them of, where nobody says anything. */
const DEFAULTS = { ssh: true, revisions: true };
const FEATURES = Object.keys(DEFAULTS);

export type FeaturePlan = Partial<typeof DEFAULTS>;

export function readFeatures(features: unknown, fail: (message: string) => void): FeaturePlan {
  if (features === undefined || features === null) return {};
  if (!isObject(features)) {
    fail('Features must be a mapping of names to true or false');
    return {};
  }
  const plan: FeaturePlan = {};
  for (const [name, enabled] of Object.entries(features)) {
    if (!isFeature(name)) fail(`unknown feature "${name.slice(0, 60)}"; there are "${FEATURES.join('" and "')}"`);
    else if (typeof enabled !== 'boolean') fail(`feature "${name}" must be true or false`);
    else plan[name] = enabled;
  }
  return plan;
}

function isFeature(name: string): name is keyof FeaturePlan {
  return Object.hasOwn(DEFAULTS, name);
}

export function featuresManifest({ spec }: App): Required<FeaturePlan> {
  const { ssh, revisions } = { ...DEFAULTS, ...spec };
  return { ssh, revisions };
}
