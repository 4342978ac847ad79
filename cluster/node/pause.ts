/**
 * The first process of pods whose containers share their processes: it sleeps for ever, and whatever is left to it when its
 * parent ended vanishes with its end. So small that it is written here byte by byte, rather than brought along as an image.
 * Sources: elf(5), and the system calls of each architecture: rt_sigaction(SIGCHLD, SIG_IGN), then pause or ppoll in a loop.
 */
const base = 0x40_0000;
const elfHeader = 64;
const programHeader = 56;
const codeAt = elfHeader + programHeader;
/** struct sigaction with the handler SIG_IGN: children then leave no zombies (sigaction(2)). */
const ignore = Buffer.alloc(32);
ignore.writeBigUInt64LE(1n);

/** An executable of this machine's kind; undefined where it is neither x64 nor arm64. */
export function pauseProgram(architecture: NodeJS.Architecture = process.arch): Buffer | undefined {
  if (architecture === 'x64') return elf(62, x64);
  return architecture === 'arm64' ? elf(183, arm64) : undefined;
}

function elf(machine: number, assemble: (data: number) => Buffer): Buffer {
  // The code's length does not depend on the address.
  const { length } = assemble(0);
  const size = codeAt + length + ignore.length;
  const header = Buffer.alloc(codeAt);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(base + codeAt), 24);
  header.writeBigUInt64LE(BigInt(elfHeader), 32);
  header.writeUInt16LE(elfHeader, 52);
  header.writeUInt16LE(programHeader, 54);
  header.writeUInt16LE(1, 56);
  // One segment, the whole file: to be loaded, read and executed.
  header.writeUInt32LE(1, 64);
  header.writeUInt32LE(5, 68);
  header.writeBigUInt64LE(BigInt(base), 80);
  header.writeBigUInt64LE(BigInt(base), 88);
  header.writeBigUInt64LE(BigInt(size), 96);
  header.writeBigUInt64LE(BigInt(size), 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([header, assemble(base + codeAt + length), ignore]);
}

function x64(data: number): Buffer {
  const address = Buffer.alloc(4);
  address.writeUInt32LE(data);
  return Buffer.from([
    ...[0xb8, 13, 0, 0, 0], // mov eax, rt_sigaction
    ...[0xbf, 17, 0, 0, 0], // mov edi, SIGCHLD
    ...[0xbe, ...address], // mov esi, data
    ...[0x31, 0xd2], // xor edx, edx
    ...[0x41, 0xba, 8, 0, 0, 0], // mov r10d, 8
    ...[0x0f, 0x05], // syscall
    ...[0xb8, 34, 0, 0, 0], // mov eax, pause
    ...[0x0f, 0x05], // syscall
    ...[0xeb, 0xf7], // back to mov eax, pause
  ]);
}

function arm64(data: number): Buffer {
  const move = (register: number, value: number): number => (0xd280_0000 | (value << 5) | register) >>> 0;
  const moveHigh = (register: number, value: number): number => (0xf2a0_0000 | (value << 5) | register) >>> 0;
  const call = 0xd400_0001;
  const words = [
    ...[move(8, 134), move(0, 17), move(1, data & 0xffff), moveHigh(1, data >>> 16), move(2, 0), move(3, 8), call],
    // ppoll(0, 0, 0, 0, 0)
    ...[move(8, 73), move(0, 0), move(1, 0), move(2, 0), move(3, 0), move(4, 0), call],
    0x17ff_fff9, // back by seven
  ];
  const code = Buffer.alloc(4 * words.length);
  for (const [index, word] of words.entries()) code.writeUInt32LE(word, 4 * index);
  return code;
}
