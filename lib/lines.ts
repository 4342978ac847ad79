/**
 * Text that comes in pieces (bytes are UTF-8) as lines, without the `\n` at their ends; the last one needs none. A line of more than `longest`
 * characters comes in parts of so many, and no more of it is kept.
 */
export async function* linesOf(
  pieces: AsyncIterable<string | Uint8Array>,
  longest = Number.POSITIVE_INFINITY,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of pieces) {
    const text = typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true });
    for (const [index, part] of text.split('\n').entries()) {
      if (index > 0) {
        yield rest;
        rest = '';
      }
      // Only what is new is searched and joined: a long line in small pieces takes no longer than a short one in each.
      for (rest += part; rest.length > longest; rest = rest.slice(longest)) yield rest.slice(0, longest);
    }
  }
  rest += decoder.decode();
  if (rest !== '') yield rest;
}
