/** Writes `docs/reference/docker-api.md` from the Docker API's route table: `node tools/docker-api-page.ts`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderReference } from '#engine/docker-api/reference.ts';
import { ROUTES } from '#engine/docker-api/routes.ts';

writeFileSync(join(import.meta.dirname, '../docs/reference/docker-api.md'), renderReference(ROUTES));
