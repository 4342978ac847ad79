/** What can be turned on and off for an app. */
import type { App } from '../resources/types.ts';

type Spec = App['spec'];

interface Feature {
  description: string;
  isOn(spec: Spec): boolean;
  set(spec: Spec, enabled: boolean): Spec;
}

/** How an app is told of services, one way at a time. */
function serviceFiles(form: NonNullable<Spec['serviceFiles']>, description: string): Feature {
  return {
    description,
    isOn: (spec) => spec.serviceFiles === form,
    set(spec, enabled) {
      if (enabled) return { ...spec, serviceFiles: form };
      const { serviceFiles: before, ...rest } = spec;
      return before === form ? rest : spec;
    },
  };
}

export const APP_FEATURES = {
  ssh: {
    description: 'Enable SSHing into the app.',
    isOn: ({ ssh = true }) => ssh,
    set: (spec, ssh) => ({ ...spec, ssh }),
  },
  revisions: {
    description: 'Enable versioning of an application',
    isOn: ({ revisions = true }) => revisions,
    set: (spec, revisions) => ({ ...spec, revisions }),
  },
  'service-binding-k8s': serviceFiles('kubernetes', 'Enable k8s service bindings for the app'),
  'file-based-vcap-services': serviceFiles('vcap', 'Enable file-based VCAP service bindings for the app'),
} as const satisfies Record<string, Feature>;

export type AppFeature = keyof typeof APP_FEATURES;

export const appFeatures = Object.keys(APP_FEATURES) as AppFeature[];

export function isAppFeature(name: string): name is AppFeature {
  return Object.hasOwn(APP_FEATURES, name);
}

/** Why an app that is `spec` cannot have these as well; undefined where it can. */
export function featureConflict(
  spec: Pick<Spec, 'serviceFiles'>,
  wanted: Partial<Record<AppFeature, boolean>>,
): string | undefined {
  const on = (name: AppFeature, form: Spec['serviceFiles']) => wanted[name] ?? spec.serviceFiles === form;
  const both = on('service-binding-k8s', 'kubernetes') && on('file-based-vcap-services', 'vcap');
  return both
    ? "'file-based-vcap-services' and 'service-binding-k8s' features cannot be enabled at the same time."
    : undefined;
}
