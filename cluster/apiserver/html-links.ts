/**
 * Links of an HTML page that lead to the root of its own server, led through the proxy that the page came by, as upstream's proxies
 * do: `<a href="/x">` of a pod's page would be the API server's `/x`. Only addresses in attributes are changed, and everything
 * else is passed on byte for byte, whatever the page's encoding is, as long as ASCII is a part of it.
 */
import { Transform, type TransformCallback } from 'node:stream';

/** By element: attributes with an address (HTML 5, and HTML 4 before it). */
const LINKS: Readonly<Record<string, readonly string[]>> = {
  a: ['href'],
  applet: ['codebase'],
  area: ['href'],
  audio: ['src'],
  base: ['href'],
  blockquote: ['cite'],
  body: ['background'],
  button: ['formaction'],
  command: ['icon'],
  del: ['cite'],
  embed: ['src'],
  form: ['action'],
  frame: ['longdesc', 'src'],
  head: ['profile'],
  html: ['manifest'],
  iframe: ['longdesc', 'src'],
  img: ['longdesc', 'src', 'usemap'],
  input: ['src', 'usemap', 'formaction'],
  ins: ['cite'],
  link: ['href'],
  object: ['classid', 'codebase', 'data', 'usemap'],
  q: ['cite'],
  script: ['src'],
  source: ['src'],
  video: ['poster', 'src'],
};
/** What stands in these is text, whatever it looks like. */
const RAW = new Set(['iframe', 'noembed', 'noframes', 'plaintext', 'script', 'style', 'textarea', 'title', 'xmp']);
/** What is longer is no tag that anybody wrote. */
const TAG_LIMIT = 16 * 1024;

const TAG = /^<([a-z][^\s/>]*)/i;
const ATTRIBUTE = /([^\s=/>"']+)(\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s>"']+))/g;

export class HtmlLinks extends Transform {
  readonly #rewrite: (address: string) => string;
  /** The beginning of something whose end has not come. */
  #held = '';
  /** The element whose end is waited for. */
  #raw = '';

  constructor(rewrite: (address: string) => string) {
    super();
    this.#rewrite = rewrite;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    const text = this.#held + chunk.toString('latin1');
    this.#held = '';
    callback(null, Buffer.from(this.#pass(text), 'latin1'));
  }

  override _flush(callback: TransformCallback): void {
    callback(null, Buffer.from(this.#held, 'latin1'));
  }

  /** What may be sent of it; keeps the rest. */
  #pass(text: string): string {
    let done = '';
    for (let at = 0; at < text.length; ) {
      const open = text.indexOf('<', at);
      if (open < 0) return done + text.slice(at);
      done += text.slice(at, open);
      const end = this.#endOf(text, open);
      if (end === undefined) {
        if (text.length - open > TAG_LIMIT) return done + text.slice(open);
        this.#held = text.slice(open);
        return done;
      }
      done += this.#element(text.slice(open, end));
      at = end;
    }
    return done;
  }

  /** Behind what begins with `<`; undefined where it is not all there. */
  #endOf(text: string, open: number): number | undefined {
    const rest = text.slice(open, open + 16 + this.#raw.length);
    if (this.#raw !== '') {
      const closing = `</${this.#raw}`;
      if (rest.slice(0, closing.length).toLowerCase() !== closing)
        return closing.startsWith(rest.toLowerCase()) ? undefined : open + 1;
    } else if ('<!--'.startsWith(rest)) return undefined;
    else if (rest.startsWith('<!--')) return behind(text, '-->', open + 2);
    else if (!/^<[a-z/!?]/i.test(rest)) return open + 1;
    let quote = '';
    for (let at = open + 1; at < text.length; at++) {
      const mark = text[at] ?? '';
      if (quote !== '') quote = mark === quote ? '' : quote;
      else if (mark === '>') return at + 1;
      // Before an attribute's name a quote is no quote.
      else if ((mark === '"' || mark === "'") && /=\s*$/.test(text.slice(Math.max(open, at - 16), at))) quote = mark;
    }
    return undefined;
  }

  #element(text: string): string {
    if (text.startsWith('</')) {
      this.#raw = '';
      return text;
    }
    const name = this.#raw === '' ? (TAG.exec(text)?.[1] ?? '').toLowerCase() : '';
    if (RAW.has(name)) this.#raw = name;
    const links = Object.hasOwn(LINKS, name) ? LINKS[name] : undefined;
    if (links === undefined) return text;
    return text.replace(ATTRIBUTE, (whole: string, attribute: string, equals: string, ...values: string[]) => {
      if (!links.includes(attribute.toLowerCase())) return whole;
      const [double, single, bare] = values;
      if (double !== undefined) return `${attribute}${equals}"${this.#rewrite(double)}"`;
      if (single !== undefined) return `${attribute}${equals}'${this.#rewrite(single)}'`;
      return `${attribute}${equals}${this.#rewrite(bare ?? '')}`;
    });
  }
}

function behind(text: string, mark: string, from: number): number | undefined {
  const at = text.indexOf(mark, from);
  return at < 0 ? undefined : at + mark.length;
}
