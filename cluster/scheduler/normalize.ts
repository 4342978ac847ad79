/** Brings counts to 0 to 100, the greatest to 100; reversed, the greatest to 0. As Kubernetes' plugins do where nothing else is said. */
export function normalizeByGreatest(scores: Float64Array, reverse: boolean): void {
  let greatest = 0;
  for (const score of scores) if (score > greatest) greatest = score;
  if (greatest === 0) {
    if (reverse) scores.fill(100);
    return;
  }
  for (let at = 0; at < scores.length; at++) {
    const score = Math.trunc((100 * (scores[at] ?? 0)) / greatest);
    scores[at] = reverse ? 100 - score : score;
  }
}
