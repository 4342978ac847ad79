/** The `sampan` command: parses, loads the one command that was asked for, and turns its errors into an exit status. */
import { enableCompileCache } from 'node:module';
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
  else if (error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number')
    process.exitCode = error.exitCode;
  else {
    process.stderr.write(
      `sampan: ${error instanceof Error ? (process.env.SAMPAN_DEBUG ? error.stack : error.message) : String(error)}\n`,
    );
  }
  if (process.argv[2] === 'role') process.exit(process.exitCode);
}
