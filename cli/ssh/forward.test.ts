import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseForward } from './forward.ts';

test('a forwarded port is read as ssh and cf read it', () => {
  const plain = { from: { address: 'localhost', port: 9229 }, to: { host: 'db.example.com', port: 5432 } };
  assert.deepEqual(parseForward('9229:db.example.com:5432'), plain);
  assert.deepEqual(parseForward('127.0.0.1:0:localhost:80'), {
    from: { address: '127.0.0.1', port: 0 },
    to: { host: 'localhost', port: 80 },
  });
  assert.deepEqual(parseForward('[::1]:1:[fd00::2]:2'), {
    from: { address: '::1', port: 1 },
    to: { host: 'fd00::2', port: 2 },
  });
});

test('what is no forwarded port is refused with what one is', () => {
  for (const wrong of ['', '80', '80:host', 'host:80', 'a:b:c:d', '1:::2', '1:h:2:3:4', '99999:h:1', '1:h:123456'])
    assert.throws(() => parseForward(wrong), /-L/, wrong);
});
