import { installDebianPackages } from '#lib/debian-packages.ts';
import { HostError } from '../host-error.ts';

/** Installs them, and leaves no service started or enabled that was not before: HAProxy is run by us. */
export function installPackages(packages: string[]): void {
  try {
    installDebianPackages(packages);
  } catch (error) {
    throw new HostError(
      'package-missing',
      `Cannot install ${packages.join(' ')}: ${(error as Error).message.split('\n').slice(0, 3).join(' ').trim()}.`,
      'Read what apt-get says above; check the network, the proxy (http_proxy) and /etc/apt/sources.list.',
      { cause: error },
    );
  }
}
