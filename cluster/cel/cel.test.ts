import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CelError, celProblem, compileCel, withinLimit } from './cel.ts';
import { celValue } from './value.ts';

const evaluate = (source: string, self: unknown = {}) =>
  compileCel(source, ['self']).evaluate({ self: celValue(self, undefined) });

test("Kubernetes' functions", () => {
  const truths = [
    '"abc".matches("^[a-c]+$") && !"x matches(".matches("^y")',
    '"a-b-c".replace("-", "", 1) == "ab-c" && "abc".charAt(1) == "b"',
    '"a,b".split(",").join("-") == "a-b" && "Ab".lowerAscii() == "ab"',
    '[1, 2, 3].isSorted() && ![2, 1].isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && ["a", "b"].max() == "b"',
    '[1, 2, 2].indexOf(2) == 1 && [1, 2, 2].lastIndexOf(2) == 2',
    '"abc 123 é45".find("[0-9]+") == "123" && "abc".find("[0-9]+") == "" && "a/b".find("^([^/]+)") == "a" && "xabcabc".findAll("abc").size() == 2',
    '"1 2 33".findAll("[0-9]+") == ["1", "2", "33"] && "1 2 3".findAll("[0-9]", 2) == ["1", "2"] && "ab".findAll("x") == []',
    '"%s is %d, %.2f, %b, %x%%".format(["a", 3, 1.5, true, 255]) == "a is 3, 1.50, 1, ff%"',
    '"%s".format([[1, "b", {"k": 2.5}]]) == "[1, b, {k: 2.5}]"',
    'quantity("1") == quantity("1000m") && ip("::1") == ip("0:0:0:0:0:0:0:1") && cidr("10.1.2.3/8").masked() == cidr("10.0.0.0/8")',
    'ip("10.0.0.1").isGlobalUnicast() && !ip("fe80::1").isGlobalUnicast() && string(cidr("fd12:3456::1/32").masked().ip()) == "fd12:3456:0:0:0:0:0:0"',
    'sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1]) && !sets.intersects([1], [2])',
    'quantity("1.5Gi").isGreaterThan(quantity("1G")) && quantity("100m").add(quantity("900m")).asInteger() == 1',
    '!isQuantity("many") && quantity("2").compareTo(quantity("2000m")) == 0',
    'url("https://a.example:8443/x?y=1").getPort() == "8443" && !isURL("::")',
    'ip("10.1.2.3").family() == 4 && ip("::1").isLoopback() && !isIP("10.1.2")',
    'cidr("10.0.0.0/8").containsIP("10.9.9.9") && !cidr("10.0.0.0/16").containsCIDR("10.0.0.0/8")',
    'duration("90s") == duration("1m30s") && timestamp("2024-01-01T00:00:00Z") < timestamp("2025-01-01T00:00:00Z")',
    'self.?absent.orValue(3) == 3 && !has(self.absent)',
    'has(self.list) && has(self.map.a) && !has(self.map.b) && !has(self["map"].b) && has([self][0].map.a)',
    'self.items.filter(i, has(i.name))[0].name == "x" && has(self.items.filter(i, has(i.name))[0].name) && "has(" != "matches("',
    'self.list.map(x, x * 2).exists(x, x == 4) && self.map.all(k, self.map[k] > 0)',
  ];
  for (const truth of truths)
    assert.equal(evaluate(truth, { list: [1, 2], map: { a: 1 }, items: [{ name: 'x' }, {}] }), true, truth);
});

test('the schema says what a value is', () => {
  const schema = {
    type: 'object',
    properties: {
      'a-b': { type: 'number' },
      since: { type: 'string', format: 'date-time' },
      namespace: { type: 'string' },
    },
  };
  const self = celValue({ 'a-b': 1, since: '2024-01-01T00:00:00Z', namespace: 'x' }, schema);
  const check = compileCel('self.a__dash__b == 1.0 && self.since.getFullYear() == 2024 && self.__namespace__ == "x"', [
    'self',
  ]);
  assert.equal(check.evaluate({ self }), true);
});

test('what is wrong is said when it is compiled', () => {
  assert.match(celProblem('self.a +', ['self'], ['bool']) ?? '', /^compilation failed: Unexpected token/);
  assert.match(celProblem('other == 1', ['self'], ['bool']) ?? '', /Unknown variable: other/);
  assert.equal(celProblem('1 + 1', ['self'], ['bool']), 'must evaluate to bool');
  assert.equal(celProblem('self.a', ['self'], ['bool']), undefined);
  assert.throws(
    () => evaluate('self.absent == 1'),
    (error) => error instanceof CelError && error.code === 'evaluate',
  );
});

test('neither a loop in loops nor a pattern holds up the server', () => {
  const list = Array.from({ length: 2000 }, (_, index) => index);
  const loops = 'self.all(a, self.all(b, self.all(c, a + b + c >= 0)))';
  const begun = performance.now();
  assert.throws(() => withinLimit(() => evaluate(loops, list)), /actual cost limit exceeded/);
  assert.equal(evaluate(`"${'a'.repeat(200)}!".matches("^(a+)+$")`), false);
  assert.ok(performance.now() - begun < 10_000);
  assert.equal(
    withinLimit(() => evaluate('self[0] == 0', list)),
    true,
    'it goes on working',
  );
});
