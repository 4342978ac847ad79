/** `features:` of a manifest: what is turned on and off for an app. */
import type { App } from '../../resources/types.ts';
import { APP_FEATURES, type AppFeature, appFeatures, featureConflict, isAppFeature } from '../app-features.ts';
import { isObject } from '../validate.ts';

export type FeaturePlan = Partial<Record<AppFeature, boolean>>;

export function readFeatures(features: unknown, fail: (message: string) => void): FeaturePlan {
  if (features === undefined || features === null) return {};
  if (!isObject(features)) {
    fail('Features must be a mapping of names to true or false');
    return {};
  }
  const plan: FeaturePlan = {};
  for (const [name, enabled] of Object.entries(features)) {
    if (!isAppFeature(name)) fail(`unknown feature "${name.slice(0, 60)}"; there are "${appFeatures.join('", "')}"`);
    else if (typeof enabled !== 'boolean') fail(`feature "${name}" must be true or false`);
    else plan[name] = enabled;
  }
  const conflict = featureConflict({}, plan);
  if (conflict !== undefined) fail(conflict);
  return plan;
}

/** Of two that exclude each other the one that is wanted counts. */
export function withFeatures(spec: App['spec'], plan: FeaturePlan): App['spec'] {
  const changes = Object.entries(plan) as [AppFeature, boolean][];
  return changes.reduce((changed, [name, enabled]) => APP_FEATURES[name].set(changed, enabled), spec);
}

export function featuresManifest({ spec }: App): FeaturePlan {
  return Object.fromEntries(appFeatures.map((name) => [name, APP_FEATURES[name].isOn(spec)]));
}
