import { print, printJson } from '#cli/output.ts';
import type { InstanceFlags } from '../instance.ts';
import { examine, install, requireRoot } from '../preflight.ts';

const marks = { ok: '✓', warning: '!', missing: '✗', error: '✗' } as const;

/** Shows every requirement. Exit status 1 when one is not met; warnings do not count. */
export async function doctor(flags: InstanceFlags, options: { fix?: boolean; json?: boolean }): Promise<void> {
  if (options.fix) {
    requireRoot('Installing packages');
    install((detail) => process.stderr.write(`${detail}\n`));
  }
  const findings = await examine(flags, { whole: true });
  const bad = findings.filter((finding) => finding.level === 'error' || finding.level === 'missing');
  if (options.json) printJson({ ok: bad.length === 0, findings });
  else {
    for (const finding of findings) {
      print(`${marks[finding.level]} ${finding.name.padEnd(20)} ${finding.found}`);
      if (finding.remedy) print(`  ${''.padEnd(20)} ${finding.remedy}`);
    }
    print(
      bad.length === 0
        ? '\nThis machine can run Sampan.'
        : `\n${bad.length} of ${findings.length} requirements are not met.`,
    );
  }
  process.exitCode = bad.length === 0 ? 0 : 1;
}
