/** The engine's flags and their help, for the commands that have them; `engine-flags.ts` reads them. */
import type { Command } from 'commander';

export function withEngineOptions(command: Command): Command {
  return command
    .option('--allow-bind <directory...>', 'let containers mount what lies below these directories of this machine')
    .option('--allow-device <path...>', 'let containers have these devices of this machine (directories: all in them)')
    .option('--allow-unconfined', 'let containers leave the system-call filter and the masks of /proc and /sys')
    .option('--allow-host-namespaces', "let containers have this machine's users, network, processes and IPC")
    .option('--allow-privileged', 'let containers be root on this machine; includes the three above')
    .option('--runtime <name>', 'the OCI runtime, by name or path (SAMPAN_RUNTIME; default runc)')
    .option('--disk-high <percent>', 'remove unused images when the disk is so full (default 85)')
    .option('--disk-low <percent>', 'until it is so full (default 80)')
    .option(
      '--tcp <host:port>',
      'the Docker API over TCP too, for clients with a certificate (port 0 takes a free one)',
    )
    .option('--mirror <[prefix=]host...>', 'cache these registries; theirs are the repositories below prefix/ here')
    .option('--registry-auth <file>', "log in to other registries as in this file, in the form of docker's config.json")
    .option('--build-timeout <duration>', 'stop builds that take longer, such as 90s, 30m, 4h (default 2h)');
}
