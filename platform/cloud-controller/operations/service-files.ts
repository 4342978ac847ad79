/**
 * Services as files, a directory for each binding (Cloud Foundry's feature `service-binding-k8s`, by the specification of
 * servicebinding.io): what credentials there are, what `VCAP_SERVICES` says besides, and `type` and `provider`.
 */
import { unprocessable } from '../errors.ts';
import type { Json } from '../api.ts';

const DIRECTORY = /^[a-z0-9.-]{1,253}$/;
const FILE = /^[a-zA-Z0-9._-]{1,253}$/;
/** Of all of them. Cloud Foundry's. */
const MOST_BYTES = 1_000_000;
/** Attributes whose names files have with dashes. */
const DASHED = /^(binding|instance)_(guid|name)$|^syslog_drain_url$|^volume_mounts$/;

/** By path: `<binding>/<file>`. Throws where a name can be none of a file. @param services  as in `VCAP_SERVICES` */
export function serviceFiles(services: Json): Map<string, string> {
  const files = new Map<string, string>();
  const directories = new Set<string>();
  for (const [label, bindings] of Object.entries(services as Record<string, Json[]>)) {
    for (const { credentials, ...facts } of bindings) {
      const directory = String(facts.name);
      if (!DIRECTORY.test(directory) || directories.has(directory)) {
        const what = directories.has(directory) ? 'is that of another one too' : 'is no name of a directory';
        throw refused(
          `the name of the binding ${JSON.stringify(directory)} ${what}: bind it by another (--binding-name)`,
        );
      }
      directories.add(directory);
      const dashed = Object.entries(facts).map(([name, value]): [string, unknown] => [
        DASHED.test(name) ? name.replaceAll('_', '-') : name,
        value,
      ]);
      const all = { ...(credentials as Json), ...Object.fromEntries(dashed), type: label, provider: label };
      for (const [name, value] of Object.entries(all)) {
        if (value === null || value === undefined) continue;
        if (!FILE.test(name) || name === '.' || name === '..')
          throw refused(`the credential ${JSON.stringify(name.slice(0, 100))} of ${directory} has no name of a file`);
        files.set(`${directory}/${name}`, typeof value === 'string' ? value : JSON.stringify(value));
      }
    }
  }
  const bytes = [...files].reduce((sum, [path, text]) => sum + path.length + Buffer.byteLength(text), 0);
  if (bytes > MOST_BYTES) throw refused(`they have ${bytes} bytes, and ${MOST_BYTES} is the most`);
  return files;
}

function refused(why: string) {
  return unprocessable(`The services of the app cannot be files: ${why}, or turn off the feature service-binding-k8s.`);
}
