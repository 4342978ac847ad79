/** The subsystem `sftp` on one channel: see `sftp.ts`. */
import type { ServerChannel } from 'ssh2';
import type { Client } from '#cluster/client/client.ts';
import { drained } from '#lib/drained.ts';
import type { SshTarget } from '../ssh.ts';
import { ContainerFiles } from './container.ts';
import { answers, Fields, packetsOf, REQUEST } from './packets.ts';
import { EXTENSIONS, Requests } from './requests.ts';
import { SftpError, STATUS } from './sftp.ts';

/** Until either end is gone. Rejects where the container cannot do it, or the client speaks something else. */
export async function serveSftp(
  channel: ServerChannel,
  options: { client: Client; target: SshTarget; signal: AbortSignal },
): Promise<void> {
  const files = await ContainerFiles.open(options);
  try {
    const requests = new Requests(files);
    let begun = false;
    // The channel stays: how it ended is said on it.
    const input = channel.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    for await (const packet of packetsOf(input)) {
      const type = packet[0] ?? 0;
      if ((type === REQUEST.init) === begun)
        throw new SftpError(STATUS.badMessage, 'The first packet, and no other, is INIT');
      if (!begun) {
        begun = true;
        await send(channel, answers.version(EXTENSIONS), options.signal);
        continue;
      }
      const fields = new Fields(packet, 1);
      await send(channel, await requests.answer(type, fields.number(), fields), options.signal);
    }
  } finally {
    files.close();
  }
}

/** Resolves when there is room for the next. */
async function send(channel: ServerChannel, bytes: Buffer, signal: AbortSignal): Promise<void> {
  if (channel.write(bytes)) return;
  await drained(channel, signal);
  signal.throwIfAborted();
}
