/**
 * The bill of materials of a droplet: CycloneDX 1.5 in JSON, beside its image as a referrer (image-spec v1.1, `subject`), so
 * that any client finds it by the image's digest, and it goes when the image goes. The same content gives the same bytes.
 */
import { digestOf } from '#lib/digest.ts';
import type { Builder } from '../builder/builder.ts';
import { imageManifest, type Manifest, mediaTypes } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import type { Runtime } from '../runtimes/runtimes.ts';
import type { BuildResult, Component } from '../lifecycle/protocol.ts';

export const SBOM_TYPE = 'application/vnd.cyclonedx+json';
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const EMPTY = Buffer.from('{}');
const LARGEST = 64 * 1024 * 1024;

const DEBIAN = 'pkg:deb/debian/';

/** Of the stack, the runtimes, the buildpacks, and what their layers hold. */
export function dropletComponents(
  run: readonly Component[],
  result: BuildResult,
  kept: readonly Component[],
): Component[] {
  const buildpacks = result.buildpacks.map(({ id, version }) => ({ type: 'application', name: id, version }));
  return inOrder([...run, ...buildpacks, ...kept]);
}

/** Of the same layers on another stack and other runtimes. */
export function rebasedComponents(before: readonly Component[], run: readonly Component[]): Component[] {
  return inOrder([...run, ...before.filter(({ purl }) => purl?.startsWith(DEBIAN) !== true)]);
}

/** Of stack and runtimes. */
export function debianComponents({ architecture, base }: Builder, runtimes: readonly Runtime[]): Component[] {
  const packages = [base.packages, ...runtimes.map((runtime) => runtime.packages.launch)];
  return packages
    .flatMap((each) => Object.entries(each))
    .map(([name, version]) => ({
      type: 'library',
      name,
      version,
      purl: `${DEBIAN}${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=${base.suite}`,
    }));
}

function inOrder(all: readonly Component[]): Component[] {
  const unique = new Map(all.map((item) => [item.purl ?? `${item.type} ${item.name} ${item.version ?? ''}`, item]));
  return [...unique].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, item]) => item);
}

/** Says it of the image `digest`, whose manifest is in the repository or comes next. */
export async function writeBillOfMaterials(
  registry: RegistryClient,
  repository: string,
  image: { digest: string; manifest: Uint8Array },
  components: readonly Component[],
): Promise<void> {
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: { component: { type: 'container', 'bom-ref': image.digest, name: repository, version: image.digest } },
    components,
  };
  const body = Buffer.from(JSON.stringify(document));
  await Promise.all([registry.putBlob(repository, body), registry.putBlob(repository, EMPTY)]);
  const manifest = imageManifest({
    config: EMPTY,
    configMediaType: EMPTY_TYPE,
    artifactType: SBOM_TYPE,
    layers: [{ mediaType: SBOM_TYPE, digest: digestOf(body), sizeBytes: body.length, diffId: '' }],
    subject: { mediaType: mediaTypes.manifest, digest: image.digest, size: image.manifest.byteLength },
  });
  await registry.putManifest(repository, digestOf(manifest), manifest);
}

/** The document's text; undefined where the image has none. */
export async function readBillOfMaterials(registry: RegistryClient, image: string): Promise<string | undefined> {
  const parsed = registry.parse(image);
  if (parsed === undefined) return undefined;
  const { repository, digest } = parsed;
  const [found] = await registry.referrers(repository, digest, SBOM_TYPE);
  const stored = found === undefined ? undefined : await registry.getManifest(repository, found.digest);
  const layer = (stored === undefined ? undefined : (JSON.parse(stored.body.toString('utf8')) as Manifest))?.layers[0];
  const body = layer === undefined ? undefined : await registry.readSmallBlob(repository, layer.digest, LARGEST);
  return body?.toString('utf8');
}
