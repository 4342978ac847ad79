import type { Component } from '../../../lifecycle/protocol.ts';

/** Node.js in a bill of materials: shipped, or fetched by a build. */
export function nodeComponent(version: string): Component {
  return { type: 'application', name: 'node', version, purl: `pkg:generic/node@${version}` };
}
