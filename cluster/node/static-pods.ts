/**
 * Pods that a node runs from files of its own, without being told by the API: each `.yaml`, `.yml` or `.json` file of a
 * directory is one Pod. https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
 *
 * The uid is a hash of the file, so that the same file is the same pod after a restart, and a changed one is another.
 */
import { createHash } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Stored } from '../kinds/kind.ts';
import { defaultPodSpec } from '../kinds/pod-defaults.ts';
import { validatePodSpec } from '../kinds/pod-validate.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { AgentOptions } from './agent.ts';
import { messageOf } from './errors.ts';
import { sourceAnnotation } from './labels.ts';

export interface StaticPodsOptions {
  directory: string;
  nodeName: string;
  log: AgentOptions['log'];
  /** All that there are, after every change. */
  onChange: (pods: Stored<Pod>[]) => void;
}

/** A file may be written in several steps. */
const restMilliseconds = 100;
const hashAnnotation = 'kubernetes.io/config.hash';

export class StaticPods {
  readonly #options: StaticPodsOptions;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: StaticPodsOptions) {
    this.#options = options;
  }

  /** Resolves when the files that are there have been read. */
  async start(): Promise<void> {
    const { directory } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    this.#watcher = watch(directory, () => this.#readSoon());
    this.#watcher.on('error', (error) =>
      this.#options.log('warn', 'the directory of static pods is not watched any more', { error: messageOf(error) }),
    );
    await this.#read();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }

  #readSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#reading = this.#reading.then(() => this.#read());
    }, restMilliseconds);
  }

  async #read(): Promise<void> {
    const { directory, nodeName, log, onChange } = this.#options;
    const pods: Stored<Pod>[] = [];
    const names = (await readdir(directory)).filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name)).sort();
    for (const name of names) {
      try {
        const text = await readFile(join(directory, name), 'utf8');
        const pod = await staticPodOf(text, name, nodeName);
        if (
          pods.some(
            ({ metadata: { name: other, namespace } }) =>
              other === pod.metadata.name && namespace === pod.metadata.namespace,
          )
        )
          throw new Error(`there is a pod "${pod.metadata.name}" in another file`);
        pods.push(pod);
      } catch (error) {
        log('warn', 'a manifest of a static pod cannot be used', { file: name, error: messageOf(error) });
      }
    }
    if (!this.#closed) onChange(pods);
  }
}

/** @throws Error where it is no Pod, or not one that can run */
export async function staticPodOf(text: string, file: string, nodeName: string): Promise<Stored<Pod>> {
  const { parse } = await import('yaml');
  const pod = parse(text) as Partial<Pod> | null;
  if (pod?.kind !== 'Pod' || pod.apiVersion !== 'v1') throw new Error('it is no object of the kind Pod, version v1');
  const { metadata, spec } = pod;
  if (!metadata?.name || !spec) throw new Error('metadata.name and spec are needed');
  defaultPodSpec(spec);
  spec.tolerations = [...(spec.tolerations ?? []), { operator: 'Exists', effect: 'NoExecute' }];
  spec.nodeName = nodeName;
  const [problem] = validatePodSpec(spec, 'spec');
  if (problem) throw new Error(`${problem.field}: ${problem.message}`);
  const uid = createHash('md5').update(`${nodeName}\n${file}\n${text}`).digest('hex');
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      name: `${metadata.name}-${nodeName}`.toLowerCase(),
      namespace: metadata.namespace ?? 'default',
      uid,
      resourceVersion: '0',
      creationTimestamp: new Date().toISOString(),
      annotations: { ...metadata.annotations, [hashAnnotation]: uid, [sourceAnnotation]: 'file' },
    },
    spec,
  };
}
