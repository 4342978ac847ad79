/**
 * Files of every runtime layer, those that the platform ships included: the environment of launched apps. Tools of the
 * dependencies are found by name, as npm's scripts expect.
 */
export const LAUNCH_ENVIRONMENT: Readonly<Record<string, string>> = {
  'env.launch/NODE_ENV.default': 'production',
  'env.launch/PATH.prepend': '/workspace/node_modules/.bin',
  'env.launch/PATH.delim': ':',
};
