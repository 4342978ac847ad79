/** Inside a container: prints what comes as UDP to port 7000; with words, sends them to the first. */
import { createSocket } from 'node:dgram';

const [to, from, ...words] = process.argv.slice(2);
const socket = createSocket('udp4');
if (to === undefined) {
  socket.on('message', (bytes) => process.stdout.write(`${bytes.toString()}\n`));
  socket.bind(7000, () => process.stdout.write('listening\n'));
} else {
  socket.bind(0, from, () => socket.send(words.join(' '), 7000, to, () => socket.close()));
}
