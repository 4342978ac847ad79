/**
 * A virtual machine under qemu, told what to do over its second serial port, as root. Its disk is as it was when it ends.
 * Emulated by default; `SAMPAN_TEST_ACCEL=kvm` where the processor's own virtualization works.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { type Socket, createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MachineImage } from './image.ts';

export interface Answer {
  code: number;
  output: string;
}

const mark = '\u001e';

export class Machine {
  readonly #qemu: ChildProcess;
  readonly #directory: string;
  readonly #say: (line: string) => void;
  #port: Socket | undefined;
  #received = '';
  #shown = 0;
  #wake: () => void = () => {};
  #complaints = '';

  constructor(options: {
    image: MachineImage;
    directory: string;
    /** Disks beside the first: /dev/vdb and so on, read-only. */
    disks: string[];
    memory: string;
    /** Each line of what the guest prints. */
    say: (line: string) => void;
  }) {
    const { image, directory } = options;
    this.#directory = directory;
    this.#say = options.say;
    const accelerator = process.env.SAMPAN_TEST_ACCEL ?? 'tcg';
    rmSync(this.#socket, { force: true });
    this.#qemu = spawn(
      'nice',
      [
        ['-n', '5', 'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35'],
        ['-accel', accelerator === 'tcg' ? 'tcg,thread=multi,tb-size=1024' : accelerator],
        ['-cpu', accelerator === 'tcg' ? 'Nehalem,+aes,+pclmulqdq,+rdrand' : 'max'],
        ['-smp', '2', '-m', options.memory, '-kernel', image.kernel, '-initrd', image.initrd],
        ['-append', 'root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off audit=0'],
        ['-drive', `file=${image.disk},format=raw,if=virtio,snapshot=on,cache=unsafe,discard=unmap`],
        options.disks.flatMap((disk) => ['-drive', `file=${disk},format=raw,if=virtio,readonly=on`]),
        ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net', '-device', 'virtio-rng-pci'],
        ['-serial', `file:${join(directory, 'console.log')}`],
        ['-serial', `unix:${this.#socket},server=on,wait=off`],
      ].flat(),
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, TMPDIR: directory } },
    );
    this.#qemu.stderr?.on('data', (part: Buffer) => (this.#complaints += part.toString()));
    this.#qemu.once('close', () => this.#wake());
  }

  get #socket(): string {
    return join(this.#directory, 'control.sock');
  }

  get process(): number {
    return this.#qemu.pid ?? 0;
  }

  /** Resolves when the guest has booted and takes commands; also after it was told to reboot. */
  async booted(seconds: number): Promise<void> {
    await this.#connect();
    await this.#marked(seconds, 'boot');
  }

  /** Runs lines of sh in the guest, without a terminal or input. */
  async run(script: string, seconds = 300): Promise<Answer> {
    this.#port?.write(`${Buffer.from(`{ ${script}\n} 2>&1\n`).toString('base64')}\n`);
    const { before, word } = await this.#marked(seconds, script.trim().split('\n')[0] ?? '');
    if (word === 'ready') throw new Error(`the guest restarted while it ran: ${script}`);
    return { code: Number(word), output: before.replaceAll('\r', '') };
  }

  /** As `run`, and an error with all that was printed when it fails. */
  async must(script: string, seconds = 300): Promise<string> {
    const { code, output } = await this.run(script, seconds);
    if (code !== 0) throw new Error(`in the guest, status ${code} of: ${script}\n${output}`);
    return output;
  }

  /** Restarts the guest the orderly way. Whether it still answers to the command before it goes down is a race. */
  async reboot(seconds: number): Promise<void> {
    this.#port?.write(`${Buffer.from('systemctl reboot --no-block\n').toString('base64')}\n`);
    while ((await this.#marked(seconds, 'reboot')).word !== 'ready');
  }

  async close(): Promise<void> {
    this.#port?.destroy();
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      this.#qemu.kill('SIGKILL');
      await once(this.#qemu, 'close');
    }
  }

  async #connect(): Promise<void> {
    for (let attempt = 0; !this.#port; attempt++) {
      const socket = createConnection(this.#socket);
      try {
        await once(socket, 'connect');
        this.#port = socket;
      } catch (error) {
        if (attempt > 100 || this.#qemu.exitCode !== null)
          throw new Error(`qemu did not start: ${this.#complaints}`, { cause: error });
        await delay(100); // it makes the socket a moment after it started
      }
    }
    this.#port.setEncoding('latin1').on('data', (part: string) => {
      this.#received += part;
      this.#show();
      this.#wake();
    });
  }

  #show(): void {
    for (
      let end = this.#received.indexOf('\n', this.#shown);
      end >= 0;
      end = this.#received.indexOf('\n', this.#shown)
    ) {
      const line = this.#received.slice(this.#shown, end).replaceAll('\r', '').replaceAll(mark, '');
      this.#shown = end + 1;
      if (line) this.#say(line);
    }
  }

  async #marked(seconds: number, what: string): Promise<{ before: string; word: string }> {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const found = new RegExp(`${mark}(ready|\\d+)${mark}`).exec(this.#received);
      if (found) {
        const before = this.#received.slice(0, found.index);
        this.#received = this.#received.slice(found.index + found[0].length);
        this.#shown = 0;
        return { before: Buffer.from(before, 'latin1').toString('utf8'), word: found[1] ?? '' };
      }
      if (this.#qemu.exitCode !== null || this.#qemu.signalCode !== null)
        throw new Error(`qemu ended while the guest did: ${what}. ${this.#complaints}`);
      const left = end - Date.now();
      if (left <= 0)
        throw new Error(`the guest did not finish in ${seconds} s: ${what}\n${this.#received}\n${this.consoleTail()}`);
      await Promise.race([new Promise<void>((wake) => (this.#wake = wake)), delay(left, undefined, { ref: false })]);
    }
  }

  consoleTail(): string {
    return readFileSync(join(this.#directory, 'console.log'), 'latin1').slice(-3000);
  }
}
