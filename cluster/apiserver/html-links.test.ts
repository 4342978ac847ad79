import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { HtmlLinks } from './html-links.ts';

const rewritten = async (page: string | Buffer, size = Infinity): Promise<Buffer> => {
  const bytes = Buffer.from(page as string);
  const links = new HtmlLinks((address) => (address.startsWith('/') ? `/proxy${address}` : address));
  for (let at = 0; at < bytes.length; at += size) links.write(bytes.subarray(at, Math.min(bytes.length, at + size)));
  links.end();
  return buffer(links);
};

const PAGE = `<!DOCTYPE html><html manifest=/m><head><title>a <a href="/t"></title>
<link rel=x href='/l'><script src="/s">if (a < b) "<a href='/no'>"</script><style>a{}</style><!-- <a href="/c"> --></head>
<body background = "/b"><A HREF="/x?a=1&amp;b='2'" title="</a>">ü</A><a href=relative>1 < 2</a><img alt="a>b" src=/i>
<form action="/f"></form><p href="/p"></p><textarea><a href="/no"></textarea><video poster="/v" src="http://other/"></video></body></html>`;
const LED = `<!DOCTYPE html><html manifest=/proxy/m><head><title>a <a href="/t"></title>
<link rel=x href='/proxy/l'><script src="/proxy/s">if (a < b) "<a href='/no'>"</script><style>a{}</style><!-- <a href="/c"> --></head>
<body background = "/proxy/b"><A HREF="/proxy/x?a=1&amp;b='2'" title="</a>">ü</A><a href=relative>1 < 2</a><img alt="a>b" src=/proxy/i>
<form action="/proxy/f"></form><p href="/p"></p><textarea><a href="/no"></textarea><video poster="/proxy/v" src="http://other/"></video></body></html>`;

test('addresses in attributes are led on, and nothing else is touched', async () => {
  assert.equal((await rewritten(PAGE)).toString(), LED);
});

test('wherever the page is cut', async () => {
  for (const size of [1, 2, 3, 7, 50]) assert.equal((await rewritten(PAGE, size)).toString(), LED, `pieces of ${size}`);
});

test('what is no page, or breaks off, comes as it is', async () => {
  const bytes = Buffer.from(Array.from({ length: 4096 }, (_, index) => index % 256));
  assert.deepEqual(await rewritten(bytes, 100), bytes);
  for (const page of ['<', '<a href="/x', '<!--', '<!-', 'a < b', '<script>', '</', `<a href="/${'x'.repeat(200_000)}`])
    assert.equal((await rewritten(page, 1000)).toString(), page);
});
