import type { Command } from 'commander';
import type { InstanceFlags } from '../instance.ts';

export type NetworkFlags = Pick<InstanceFlags, 'dualStack' | 'cniConfig' | 'cniBin'>;

/** Of the network of pods; what is said is kept with the instance. */
export function withNetworkOptions(command: Command): Command {
  return command
    .option('--dual-stack <on|off>', 'give pods and Services IPv6 beside IPv4; kept; taken up when the processes start')
    .option(
      '--cni-config <directory>',
      'let CNI plugins make the links of pods, by the first configuration in it; kept, "" goes back to the built-in network',
    )
    .option('--cni-bin <directory...>', 'where the plugins are (default /usr/lib/cni and /opt/cni/bin); kept');
}
