import { CliError } from './errors.ts';

/** `256M`, `1G`, `1024MB` to whole mebibytes, as cf reads them. */
export function megabytes(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(m|mb|g|gb|t|tb)$/i.exec(text.trim());
  const factor = { m: 1, g: 1024, t: 1024 * 1024 }[match?.[2]?.[0]?.toLowerCase() ?? ''] ?? 0;
  const value = Math.floor(Number(match?.[1]) * factor);
  if (!match || value < 1)
    throw new CliError(
      `Cannot use ${JSON.stringify(text)} as ${flag}: it is no size.`,
      `Give a number with its unit, for example ${flag} 256M or ${flag} 1G.`,
    );
  return value;
}

export function count(text: string, flag: string): number {
  if (!/^\d{1,6}$/.test(text))
    throw new CliError(
      `Cannot use ${JSON.stringify(text)} as ${flag}: it is no number.`,
      `Give a whole number, for example ${flag} 2.`,
    );
  return Number(text);
}
