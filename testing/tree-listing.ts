/**
 * Everything that can be told of a directory tree, a line for each name: type, mode, owner, device, size, time to the
 * nanosecond, target, content, extended attributes, and which names are one file. Two trees are the same where the lists
 * are. Read by python3: Node has no extended attributes.
 */
import { execFileSync } from 'node:child_process';

const SCRIPT = `
import hashlib, os, stat, sys
root = os.fsencode(sys.argv[1])
skipped = {os.fsencode(name) for name in sys.argv[2:]}
inodes = {}
lines = []
def shown(name):
    return name.decode('latin1').encode('unicode_escape').decode('ascii')
def see(path, name):
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    facts = ['%06o' % info.st_mode, '%d:%d' % (info.st_uid, info.st_gid)]
    if name: facts.append('mtime=%d' % info.st_mtime_ns)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        facts.append('device=%d:%d' % (os.major(info.st_rdev), os.minor(info.st_rdev)))
    if kind == stat.S_IFREG:
        with open(path, 'rb') as file: facts.append('%d:%s' % (info.st_size, hashlib.sha256(file.read()).hexdigest()[:16]))
        if info.st_size >= 1048576: facts.append('holes' if info.st_blocks * 512 < info.st_size / 2 else 'full')
    if kind == stat.S_IFLNK: facts.append('-> ' + shown(os.readlink(path)))
    if kind != stat.S_IFDIR and info.st_nlink > 1:
        facts.append('same as ' + inodes.setdefault((info.st_dev, info.st_ino), shown(name)))
    for attribute in sorted(os.listxattr(path, follow_symlinks=False)):
        if attribute.startswith(('user.', 'security.capability')) and not attribute.startswith('user.overlay.') and not attribute.startswith('user.rootlesscontainers'):
            facts.append(attribute + '=' + os.getxattr(path, attribute, follow_symlinks=False).hex())
    lines.append(shown(b'/' + name) + ' ' + ' '.join(facts))
    if kind == stat.S_IFDIR:
        for child in sorted(os.listdir(path)):
            below = name + b'/' + child if name else child
            if below not in skipped: see(path + b'/' + child, below)
see(root, b'')
print('\\n'.join(lines))
`;

/** The root's own time is left out: whoever mounts or unpacks a tree makes its root. */
export function listTree(directory: string, skipped: readonly string[] = []): string[] {
  const told = execFileSync('python3', ['-c', SCRIPT, directory, ...skipped], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  return told.trimEnd().split('\n');
}
