/** The thread of `yaml.ts`. */
import { parentPort } from 'node:worker_threads';
import { LineCounter, parseDocument, stringify } from 'yaml';
import type { YamlAnswer, YamlTask } from './yaml.ts';
import { readYaml, writeYaml } from './text.ts';

const port = parentPort;
if (!port) throw new Error('lib/yaml/thread.ts runs in a worker thread only');

function answer(task: YamlTask): YamlAnswer {
  try {
    return 'read' in task
      ? readYaml({ LineCounter, parseDocument }, task.read, task.options)
      : { text: writeYaml(stringify, task.write) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

port.on('message', (task: YamlTask) => port.postMessage(answer(task)));
