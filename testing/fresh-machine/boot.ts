/**
 * A minimal Debian with systemd and nothing but cgroup v2, booted, with this source in /opt/sampan.
 *
 * SAMPAN_TEST_IMAGE=DIR keeps the disk image there for the next run; SAMPAN_TEST_SUITE=trixie takes Debian 13.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { installDebianPackages } from '#lib/debian-packages.ts';
import { makeImage, makeSourceDisk } from './image.ts';
import { Machine } from './machine.ts';

const begun = performance.now();
export const progress = (line: string): void =>
  void process.stderr.write(`[${((performance.now() - begun) / 1000).toFixed(0).padStart(5)} s] ${line}\n`);

/** Why there can be no virtual machine here; false where there can. */
export function whyNoMachine(): string | false {
  if (process.getuid?.() !== 0) return 'the image of the machine is made as root';
  if (process.arch !== 'x64') return `the machine is an x86_64 one, this is ${process.arch}`;
  try {
    const missing: [string, string][] = [
      ['/usr/bin/qemu-system-x86_64', 'qemu-system-x86'],
      ['/usr/bin/mmdebstrap', 'mmdebstrap'],
    ];
    installDebianPackages(missing.flatMap(([path, name]) => (existsSync(path) ? [] : [name])));
    return false;
  } catch (error) {
    return `qemu cannot be installed: ${(error as Error).message.split('\n')[0]}`;
  }
}

/** @param directory  one of the caller's own, for what the machine keeps */
export async function bootMachine(directory: string, say: (line: string) => void): Promise<Machine> {
  say('making a minimal Debian');
  const image = await makeImage(process.env.SAMPAN_TEST_IMAGE ?? join(directory, 'image'), {
    suite: process.env.SAMPAN_TEST_SUITE === 'trixie' ? 'trixie' : 'bookworm',
    caBundle: process.env.NODE_EXTRA_CA_CERTS,
  });
  const source = await makeSourceDisk(join(import.meta.dirname, '..', '..'), join(directory, 'source.tar'));
  const run = join(directory, 'run');
  mkdirSync(run);
  const machine = new Machine({ image, directory: run, disks: [source], memory: '4G', say });
  say('booting it');
  await machine.booted(900);
  await machine.must('mkdir /opt/sampan && tar -C /opt/sampan -xf /dev/vdb');
  return machine;
}
