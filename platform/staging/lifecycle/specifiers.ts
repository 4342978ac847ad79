/**
 * Version specifiers of projects: PEP 440's, Poetry's `^` and `~`, and bare versions, where `3.11` is any 3.11. Parts between
 * commas hold together; of parts between `||` one is enough.
 */
export function satisfiesVersion(version: string, specifier: string): boolean {
  const have = numbers(version);
  return specifier.split('||').some((all) =>
    all
      .split(/,|\s+(?=[<>=!~^])/)
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .every((part) => holds(have, part)),
  );
}

function holds(have: readonly number[], part: string): boolean {
  if (part === '*') return true;
  const match = /^(===?|!=|~=|<=?|>=?|\^|~)?\s*v?(\d+(?:\.\d+)*)(\.\*)?$/.exec(part);
  if (match === null) return false;
  const [, operator = '', text = '', any] = match;
  const want = numbers(text);
  const order = compare(have, want);
  const within = want.every((number, index) => have[index] === number);
  switch (operator) {
    case '':
    case '==':
    case '===':
      return operator === '' || any !== undefined ? within : order === 0;
    case '!=':
      return any === undefined ? order !== 0 : !within;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
    case '^':
      return order >= 0 && have[0] === want[0];
    case '~=':
      return order >= 0 && want.slice(0, -1).every((number, index) => have[index] === number);
    default:
      return order >= 0 && want.slice(0, 2).every((number, index) => have[index] === number);
  }
}

function numbers(version: string): number[] {
  return version.split('.').map(Number);
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
