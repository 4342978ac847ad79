import type { ImageConfig } from '../engine.ts';
import { BuildError } from './dockerfile/instruction.ts';

/** @throws BuildError where the image is for another machine */
export function checkPlatform(platform: string, image: Pick<ImageConfig, 'os' | 'architecture'>): void {
  const [os = '', architecture] = platform.split('/');
  if (os === image.os && (architecture === undefined || architecture === image.architecture)) return;
  throw new BuildError(
    `image with reference was found but does not match the specified platform: wanted ${platform}, actual: ${image.os}/${image.architecture}`,
  );
}
