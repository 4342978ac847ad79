/**
 * Preloaded by every process of a test file. What it tells goes through a socket, and what is still on its way when
 * `--test-force-exit` ends the process would be lost: so each piece is written before the next thing happens.
 */
interface Output {
  _handle?: { setBlocking?: (blocking: boolean) => number };
}

(process.stdout as unknown as Output)._handle?.setBlocking?.(true);
