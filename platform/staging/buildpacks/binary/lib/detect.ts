/** bin/detect of the binary buildpack: there is a Procfile, a program, or the user chose this buildpack by name. */
import { existsSync } from 'node:fs';
import { executables } from './executables.ts';

const chosen = (process.env['SAMPAN_BUILDPACKS'] ?? '').includes('"sampan/binary"');
if (!chosen && !existsSync('Procfile') && executables('.').length === 0) process.exitCode = 100;
