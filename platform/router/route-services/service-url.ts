/** A URL of a route service in the form that the router takes; undefined where it is none. */
export function serviceUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url?.protocol !== 'https:' || url.hostname === '') return undefined;
  url.username = '';
  url.password = '';
  url.hash = '';
  // URLs may have these as they are, and the proxy's lines end with them.
  return url.href.replace(/[|^{}`\\"'<> ]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}
