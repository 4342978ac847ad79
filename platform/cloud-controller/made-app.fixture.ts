import type { Json } from './api.ts';
import type { TestCloud } from './cloud.fixture.ts';

/** An app with a droplet, stopped. */
export async function makeApp(cloud: TestCloud, name: string, space: string): Promise<{ app: string; build: string }> {
  const one = (guid: string) => ({ data: { guid } });
  const made = await cloud.json('POST', '/v3/apps', { name, relationships: { space: one(space) } });
  const app = String(made.guid);
  const item = await cloud.json('POST', '/v3/packages', { type: 'bits', relationships: { app: one(app) } });
  const form = new FormData();
  form.set('bits', new Blob(['zip bytes']), 'package.zip');
  await cloud.call('POST', `/v3/packages/${String(item.guid)}/upload`, form);
  const build = String((await cloud.json('POST', '/v3/builds', { package: { guid: item.guid } })).guid);
  const staged = await cloud.until('the build', async () => {
    const now = await cloud.json('GET', `/v3/builds/${build}`);
    return now.state !== 'STAGING' && now;
  });
  const droplet = String((staged.droplet as Json).guid);
  await cloud.json('PATCH', `/v3/apps/${app}/relationships/current_droplet`, { data: { guid: droplet } });
  return { app, build };
}
