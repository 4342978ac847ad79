/**
 * A disk with a minimal Debian: systemd as PID 1, Debian's own kernel, an address by DHCP, and nothing else: no curl, no
 * CA bundle, no Node, no sudo. Made by mmdebstrap and mkfs.ext4, without mounting anything.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { finish } from '#testing/platform.ts';

export interface MachineImage {
  /** A raw file with an ext4 file system. */
  disk: string;
  kernel: string;
  initrd: string;
}

const packages = ['systemd-sysv', 'udev', 'dbus', 'linux-image-cloud-amd64', 'initramfs-tools', 'zstd'];

/** Reads one line at a time, a command in base64, from the second serial port; answers with its output and its status. A command sees no terminal. */
const control = `#!/bin/sh
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
printf '\\036ready\\036'
while IFS= read -r line; do
  printf %s "$line" | base64 -d >/run/control.sh
  { HOME=/root setsid -w sh /run/control.sh </dev/null 2>&1; echo $? >/run/control.status; } | cat
  printf '\\036%d\\036' "$(cat /run/control.status)"
done
`;

const files: Record<string, string> = {
  'etc/hostname': 'fresh\n',
  'etc/hosts': '127.0.0.1 localhost fresh\n',
  'etc/resolv.conf': 'nameserver 10.0.2.3\n',
  'etc/systemd/network/10-all.network': '[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n',
  'etc/systemd/system/control.service': `[Unit]
Description=Commands from the test
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/local/sbin/control
KillMode=process

[Install]
WantedBy=multi-user.target
`,
  'usr/local/sbin/control': control,
  // The guest is emulated: every module that is not looked for is a second saved.
  'etc/initramfs-tools/conf.d/small': 'MODULES=list\nCOMPRESS=zstd\n',
  'etc/dpkg/dpkg.cfg.d/test': 'force-unsafe-io\n',
  'etc/initramfs-tools/modules': 'virtio_pci\nvirtio_blk\next4\n',
};

const masked = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'e2scrub_all.timer'];

export async function makeImage(
  directory: string,
  options: { suite: 'bookworm' | 'trixie'; caBundle?: string | undefined },
): Promise<MachineImage> {
  const root = join(directory, 'root');
  const disk = join(directory, 'disk.ext4');
  const image = { disk, kernel: join(directory, 'vmlinuz'), initrd: join(directory, 'initrd') };
  if (Object.values(image).every((path) => existsSync(path))) return image;
  mkdirSync(directory, { recursive: true });
  rmSync(root, { recursive: true, force: true });
  try {
    const overlay = join(directory, 'overlay');
    for (const [name, text] of Object.entries(files)) put(join(overlay, name), text);
    chmodSync(join(overlay, 'usr/local/sbin/control'), 0o755);
    // A machine behind a proxy that breaks TLS open trusts its certificate the way Debian means it.
    if (options.caBundle) {
      mkdirSync(join(overlay, 'usr/local/share/ca-certificates'), { recursive: true });
      copyFileSync(options.caBundle, join(overlay, 'usr/local/share/ca-certificates/host.crt'));
    }
    await must('mmdebstrap', [
      '--quiet',
      '--mode=root',
      '--variant=minbase',
      `--include=${packages.join(',')}`,
      `--essential-hook=copy-in ${['etc', 'usr'].map((name) => join(overlay, name)).join(' ')} /`,
      '--customize-hook=chroot "$1" systemctl enable systemd-networkd control.service',
      `--customize-hook=chroot "$1" systemctl mask ${masked.join(' ')}`,
      // Packages that the tests install would make the initramfs anew each time: minutes.
      '--customize-hook=sed -i s/^update_initramfs=yes/update_initramfs=no/ "$1/etc/initramfs-tools/update-initramfs.conf"',
      '--aptopt=Acquire::Languages "none"',
      // mmdebstrap leaves the host's own in these two.
      `--customize-hook=copy-in ${join(overlay, 'etc/resolv.conf')} ${join(overlay, 'etc/hostname')} /etc`,
      options.suite,
      root,
    ]);
    const boot = readdirSync(join(root, 'boot')).sort();
    for (const [path, prefix] of [
      [image.kernel, 'vmlinuz-'],
      [image.initrd, 'initrd.img-'],
    ] as const)
      copyFileSync(join(root, 'boot', boot.findLast((name) => name.startsWith(prefix)) ?? ''), path);
    await must('truncate', ['-s', '16G', disk]);
    await must('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-d', root, disk]);
  } catch (error) {
    for (const path of Object.values(image)) rmSync(path, { force: true });
    throw error;
  } finally {
    rmSync(root, { recursive: true, force: true });
    rmSync(join(directory, 'overlay'), { recursive: true, force: true });
  }
  return image;
}

/** A disk whose bytes are a tar of the checkout as it lies here, changes and new files with it. */
export async function makeSourceDisk(checkout: string, path: string): Promise<string> {
  const list = await must('git', ['-C', checkout, 'ls-files', '-z', '-co', '--exclude-standard', '--deduplicate']);
  const names = list.split('\0').filter((name) => name && existsSync(join(checkout, name)));
  const result = await finish(
    'tar',
    ['-C', checkout, '--null', '-T', '-', '-cf', path, '--owner=1234', '--group=1234'],
    {
      input: names.join('\0'),
    },
  );
  if (result.code !== 0) throw new Error(`tar of ${basename(checkout)} failed: ${result.stderr}`);
  return path;
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

async function must(command: string, words: string[]): Promise<string> {
  const result = await finish(command, words, { env: process.env, timeout: 1_200_000 });
  if (result.code !== 0) throw new Error(`${command} ended with ${result.code}: ${result.stderr.slice(-2000)}`);
  return result.stdout;
}
