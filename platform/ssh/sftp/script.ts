/**
 * What runs in the container: a POSIX shell that does one request after another. A request is a line of words on its standard input, each byte of a
 * name that could mean something else written as `\0ooo`; names are values of variables there, and never part of what the shell reads. After the line
 * of a write come its bytes. The answer is on standard error: what the programs said, then two zero bytes, the exit status, and two zero
 * bytes. Standard output has the bytes of files, and nothing else: how many `dd` gave is in the answer.
 *
 * Programs are those that both GNU and busybox have, with their common options.
 */
import { MOST_LISTING_BYTES } from './sftp.ts';

export type Verb =
  | 'stat'
  | 'lstat'
  | 'list'
  | 'open'
  | 'read'
  | 'write'
  | 'truncate'
  | 'chmod'
  | 'seal'
  | 'chown'
  | 'times'
  | 'mkdir'
  | 'rmdir'
  | 'remove'
  | 'rename'
  | 'replace'
  | 'symlink'
  | 'hardlink'
  | 'readlink'
  | 'realpath';

export const SCRIPT = String.raw`
LC_ALL=C; export LC_ALL
exec 3<&0 </dev/null 4>&1 >&2
mask=$(umask)
format='%f %s %u %g %X %Y'
exact=; stat --printf= / 2>/dev/null && exact=1
counts=; case $(dd if=/dev/null count=0 2>&1) in *' bytes '*) counts=1 ;; esac

say() { printf '\0\0%d\0\0' "$1"; }
refuse() { printf '%s\n' "$1"; return 1; }
# The x keeps the newlines that a name may end with.
word() { word=$(printf '%bx' "$1"); word=${'$'}{word%x}; }
allowed() { printf %o $(($1 & ~0$mask)); }
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
# A pipe would never answer, a device never end.
plain() {
  if [ -d "$path" ]; then refuse 'Is a directory'
  elif [ -e "$path" ] && [ ! -f "$path" ]; then refuse 'Not a regular file'
  fi
}
# Written by name, it must be writable until it is closed: only then it has its own mode.
make() { (umask 077; set -C; : >"$path") && chmod "$(allowed "$(($1 | 128))")" -- "$path" && printf made; }
begin() {
  plain || return 1
  case $b in *r*) dd if="$path" of=/dev/null count=0 || return 1 ;; esac
  case $b in
  *t*) (: >"$path") ;;
  *w*) dd if=/dev/null of="$path" conv=notrunc count=0 ;;
  esac
}
open() {
  case $b in
  *x*) if is_there "$path"; then refuse 'File exists'; else make "$c"; fi ;;
  *c*) if [ -e "$path" ]; then begin; else make "$c"; fi ;;
  *) begin ;;
  esac
}
list() {
  [ -d "$path" ] || { ls -d -- "$path/" >/dev/null; return 1; }
  [ -r "$path" ] && [ -x "$path" ] || { refuse 'Permission denied'; return 1; }
  if [ -n "$exact" ]; then set -- --printf="$format %n\\0"; else set -- -c "$format %n"; fi
  find "$path/" -mindepth 1 -maxdepth 1 -exec stat "$@" -- {} + 2>/dev/null | head -c ${MOST_LISTING_BYTES}
}
# Where dd does not say how many bytes it gave they are counted on their way.
fetch() {
  plain || return 1
  set -- if="$path" bs="$c" count=1 skip="$b" iflag=skip_bytes,fullblock
  if [ -n "$counts" ]; then dd "$@" >&4; return; fi
  count=$({ dd "$@" 2>/dev/null | tee /dev/fd/5 >&4; } 5>&1 | wc -c)
  printf '%s bytes\n' "$count"
}
# Its bytes are taken from the input whatever becomes of them: the next request is behind them.
write() {
  said=$(plain && dd of="$path" bs="$c" count=1 seek="$b" iflag=fullblock oflag=seek_bytes conv=notrunc <&3 2>&1)
  status=$?
  case $said in
  *'1+0 records in'* | *'0+1 records in'*) ;;
  *) dd of=/dev/null bs="$c" count=1 iflag=fullblock <&3 2>/dev/null ;;
  esac
  printf '%s\n' "$said"
  return $status
}
remove() {
  if [ -d "$path" ] && [ ! -L "$path" ]; then refuse 'Is a directory'; else rm -- "$path"; fi
}
onto_nothing() { if is_there "$other"; then refuse 'File exists'; else "$@"; fi; }
replace() {
  if [ -d "$other" ] && [ ! -L "$other" ]; then refuse 'Is a directory'; else mv -f -- "$path" "$other"; fi
}

pwd -P
say 0
while IFS=' ' read -r verb a b c <&3; do
  word "$a"; path=$word
  case $verb in
  rename | replace | symlink | hardlink) word "$b"; other=$word ;;
  esac
  case $verb in
  stat) stat -L -c "$format" -- "$path" ;;
  lstat) stat -c "$format" -- "$path" ;;
  list) list ;;
  open) open ;;
  read) fetch ;;
  write) write ;;
  truncate) plain && dd if=/dev/null of="$path" bs=1 count=0 seek="$b" ;;
  chmod) chmod "$b" -- "$path" ;;
  seal) chmod "$(allowed "$b")" -- "$path" ;;
  chown) chown "$b:$c" -- "$path" ;;
  times) touch -c -a -d "@$b" -- "$path" && touch -c -m -d "@$c" -- "$path" ;;
  mkdir) mkdir -m "$(allowed "$b")" -- "$path" ;;
  rmdir) rmdir -- "$path" ;;
  remove) remove ;;
  rename) onto_nothing mv -- "$path" "$other" ;;
  replace) replace ;;
  symlink) onto_nothing ln -s -- "$path" "$other" ;;
  hardlink) onto_nothing ln -- "$path" "$other" ;;
  readlink) readlink -n -- "$path" ;;
  realpath) readlink -f -n -- "$path" ;;
  *) refuse 'What is that?' ;;
  esac
  say $?
done
`;

/** A word of a request: nothing but letters, digits and what paths are made of. */
export function encoded(word: string): string {
  return word.replaceAll(/[^A-Za-z0-9._/@:+,=-]/g, (sign) => `\\0${sign.charCodeAt(0).toString(8).padStart(3, '0')}`);
}
