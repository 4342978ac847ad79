import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pageOnDisk, pageText } from './cf-api-page.ts';

test("the page of Cloud Foundry's API is what the route table says, and everything else has a reason", () => {
  const text = pageText();
  assert.equal(pageOnDisk(), text, 'run tools/cf-api-page.ts');
  assert.ok(text.includes('| `POST /v3/apps` |') && text.includes('## Not there'));
});
