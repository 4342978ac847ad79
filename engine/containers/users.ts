/** Who a container's process is: names are looked up in the image's own passwd(5) and group(5), which are untrusted. */
import { EngineError } from '../engine.ts';
import type { ContainerUser } from './oci.ts';

const largestId = 65_535;

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/**
 * @param user   `user`, `uid`, `user:group` or `uid:gid`; empty is root
 * @param files  contents of the image's /etc/passwd and /etc/group, empty where it has none
 */
export function resolveUser(
  user: string,
  files: { passwd: string; group: string },
  supplementary: readonly number[] = [],
): ContainerUser {
  const [userPart = '', groupPart, ...rest] = user.split(':');
  if (rest.length > 0) throw new EngineError('invalid', `user: "${user}" is not of the form user[:group]`);
  const groups = parseGroup(files.group);
  const wanted = userPart === '' ? '0' : userPart;
  const numeric = parseId(wanted);
  const entry = parsePasswd(files.passwd).find(({ name, uid }) =>
    numeric === undefined ? name === wanted : uid === numeric,
  );
  if (entry === undefined && numeric === undefined) {
    throw new EngineError(
      'invalid',
      `user: the image's /etc/passwd has no "${wanted}"; use a number or a name that is there`,
    );
  }
  const uid = entry?.uid ?? numeric ?? 0;
  const gid = groupPart === undefined || groupPart === '' ? (entry?.gid ?? 0) : groupId(groupPart, groups);
  // As Docker does: memberships count only where the user was named without a group.
  const memberships =
    entry === undefined || (groupPart !== undefined && groupPart !== '')
      ? []
      : groups.filter(({ members }) => members.includes(entry.name)).map((group) => group.gid);
  const ids = [...new Set([...memberships, ...supplementary])].filter((id) => id !== gid);
  for (const id of [uid, gid, ...ids]) {
    if (!Number.isInteger(id) || id < 0 || id > largestId) {
      throw new EngineError('invalid', `user: id ${id} is outside of the sandbox's range of 0 to ${largestId}`);
    }
  }
  return {
    uid,
    gid,
    groups: ids.sort((a, b) => a - b),
    home: entry === undefined || entry.home === '' ? '/' : entry.home,
  };
}

/** @param file  the image's /etc/group */
export function groupNumber(name: string, file: string): number {
  return groupId(name, parseGroup(file));
}

function groupId(text: string, groups: GroupEntry[]): number {
  const id = parseId(text) ?? groups.find(({ name }) => name === text)?.gid;
  if (id === undefined) throw new EngineError('invalid', `user: the image's /etc/group has no "${text}"`);
  return id;
}

function parseId(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uidText, gidText, , home = ''] = line.split(':');
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    if (name === undefined || name === '' || uid === undefined || gid === undefined) return [];
    return [{ name, uid, gid, home: home.startsWith('/') ? home : '' }];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gidText, members = ''] = line.split(':');
    const gid = parseId(gidText);
    if (name === undefined || name === '' || gid === undefined) return [];
    return [{ name, gid, members: members.split(',').filter((member) => member !== '') }];
  });
}
