/** bin/detect of the binary buildpack: there is a Procfile, a program, or the user chose this buildpack by name. */
import { existsSync } from 'node:fs';
import type { WantedBuildpacks } from '../../../lifecycle/protocol.ts';
import { executables } from './executables.ts';

const { chosen = false } = JSON.parse(process.env['SAMPAN_BUILDPACKS'] ?? '{}') as Partial<WantedBuildpacks>;
if (!chosen && !existsSync('Procfile') && executables('.').length === 0) process.exitCode = 100;
