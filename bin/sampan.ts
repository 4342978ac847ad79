/** The `sampan` command: parses, loads the one command that was asked for, and turns its errors into an exit status. */
import { enableCompileCache, flushCompileCache } from 'node:module';
import { HostError } from './host-error.ts';

process.umask(0o022);
enableCompileCache(
  process.env.SAMPAN_COMPILE_CACHE ?? (process.getuid?.() === 0 ? '/var/cache/sampan/compile' : undefined),
);

try {
  if (process.argv[2] === 'role') {
    const { runRole } = await import('./roles/run.ts');
    await runRole(process.argv.slice(3));
  } else {
    const { createProgram } = await import('./program.ts');
    await (await createProgram(process.argv.slice(2))).parseAsync();
  }
} catch (error) {
  process.exitCode = 1;
  if (error instanceof HostError) process.stderr.write(`sampan: ${error.message}\n  remedy: ${error.remedy}\n`);
  else if (isUsage(error)) process.exitCode = error.exitCode;
  else {
    process.stderr.write(
      `sampan: ${error instanceof Error ? (process.env.SAMPAN_DEBUG ? error.stack : error.message) : String(error)}\n`,
    );
  }
}
// Every command is over when its promise is. Ending here spares the time to take the heap down, and what may go wrong there.
for (const stream of [process.stdout, process.stderr]) await new Promise((told) => stream.write('', told));
flushCompileCache();
process.exit();

/** commander has told it already. Other errors have an `exitCode` too: that of a program which they ran. */
function isUsage(error: unknown): error is Error & { exitCode: number } {
  return (
    error instanceof Error && 'exitCode' in error && 'code' in error && String(error.code).startsWith('commander.')
  );
}
