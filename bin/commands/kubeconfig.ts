import { type InstanceFlags, requireInstance } from '../instance.ts';
import { kubeconfigText } from '../kubeconfig-text.ts';

/** Prints the administrator's kubeconfig. */
export function kubeconfig(flags: InstanceFlags): void {
  process.stdout.write(kubeconfigText(requireInstance(flags)));
}
