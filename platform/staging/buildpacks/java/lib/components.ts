/** Libraries for the bill of materials: by the coordinates that Maven wrote into them, else by the names of their files. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Component } from '../../../lifecycle/protocol.ts';
import { readJar } from './jar.ts';

const COORDINATES = /^META-INF\/maven\/[^/]+\/[^/]+\/pom\.properties$/;

/** Of every jar in a directory. */
export function jarComponents(directory: string): Component[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.jar'))
    .sort()
    .map((name) => libraryOf(name, [...readJar(join(directory, name), COORDINATES).texts.values()]));
}

/** @param coordinates  texts of pom.properties; a jar with several has others' classes in it, and is told by its name */
export function libraryOf(file: string, coordinates: readonly string[]): Component {
  const [only = ''] = coordinates.length === 1 ? coordinates : [];
  const value = (key: string) => new RegExp(`^${key}=(.*?)\\s*$`, 'm').exec(only)?.[1];
  const [group, artifact, version] = [value('groupId'), value('artifactId'), value('version')];
  if (group !== undefined && artifact !== undefined && version !== undefined) {
    const purl = `pkg:maven/${[group, artifact].map(encodeURIComponent).join('/')}@${encodeURIComponent(version)}`;
    return { type: 'library', name: artifact, version, purl };
  }
  const [, name = file.slice(0, -4), found] = /^(.+?)-(\d[^/]*)\.jar$/.exec(file) ?? [];
  return { type: 'library', name, ...(found === undefined ? {} : { version: found }) };
}
