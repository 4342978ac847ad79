/** IPv4 addresses as numbers, for counting through ranges. What is no address gives no sensible number: check before (`isIPv4`). */
export function ipv4Number(text: string): number {
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
