/**
 * Header blocks of SPDY/3: names and values with their lengths, deflated in one stream for the whole connection that was primed
 * with a dictionary. Source: the SPDY protocol, draft 3.1, section 2.6.10.
 */
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';

/** More than any header of a stream needs; what unpacks to more is an attack. */
const longest = 64 * 1024;

const words =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow ' +
  'authorization cache-control connection content-base content-encoding content-language content-length ' +
  'content-location content-md5 content-range content-type date etag expect expires from host if-match ' +
  'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma ' +
  'proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie ' +
  'keep-alive origin';
const rest =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505' +
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized' +
  '403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable' +
  'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT' +
  'chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,' +
  'text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

/** What both ends have said already, as it were, before the first block. */
export const dictionary = Buffer.concat([
  ...words.split(' ').map((word) => lengthPrefixed(word.replace('_', ' '))),
  Buffer.from(rest),
]);

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export type HeaderBlock = ReadonlyMap<string, string>;

/** The two streams of one connection. Blocks must be given in the order in which they are on the wire. */
export class HeaderCodec {
  readonly #inflate: Inflate = createInflate({ dictionary });
  readonly #deflate: Deflate = createDeflate({ dictionary });

  /** Rejects where it is malformed, or unpacks to more than a header block may be. */
  async read(block: Buffer): Promise<HeaderBlock> {
    return parse(await through(this.#inflate, (done) => this.#inflate.write(block, done)));
  }

  async write(headers: HeaderBlock): Promise<Buffer> {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(headers.size);
    const parts = [...headers].flatMap(([name, value]) => [lengthPrefixed(name.toLowerCase()), lengthPrefixed(value)]);
    const plain = Buffer.concat([count, ...parts]);
    return await through(this.#deflate, (done) => {
      this.#deflate.write(plain);
      this.#deflate.flush(constants.Z_SYNC_FLUSH, () => done());
    });
  }

  close(): void {
    this.#inflate.close();
    this.#deflate.close();
  }
}

async function through(
  stream: Inflate | Deflate,
  give: (done: (error?: Error | null) => void) => void,
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const collect = (chunk: Buffer): void => {
    size += chunk.length;
    if (size > longest) reject(new Error(`a header block of more than ${longest} bytes`));
    else chunks.push(chunk);
  };
  stream.on('data', collect);
  const ended = (): void => reject(new Error('the deflated headers came to an end'));
  stream.once('error', reject);
  stream.once('end', ended);
  give((error) => (error ? reject(error) : resolve(Buffer.concat(chunks))));
  try {
    return await promise;
  } finally {
    stream.off('data', collect);
    stream.off('error', reject);
    stream.off('end', ended);
  }
}

function parse(plain: Buffer): HeaderBlock {
  let at = 0;
  const number = (): number => {
    at += 4;
    return plain.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (length > plain.length - at) throw new Error('a header block that ends too soon');
    at += length;
    return plain.toString('utf8', at - length, at);
  };
  const headers = new Map<string, string>();
  for (let left = number(); left > 0; left -= 1) {
    const name = text();
    headers.set(name, text());
  }
  return headers;
}
