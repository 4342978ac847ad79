#!/bin/sh
# Run by mmdebstrap when the packages are unpacked, with the new root as its argument. Compiles Python's library, as the
# package's own script would: nothing can be written beside it later, and each start would compile it anew. What is compiled
# is checked by nothing (`unchecked-hash`), as the times of the files change on their way.
set -eu
exec >&2
root=$1
for python in "$root"/usr/bin/python3.[0-9]*; do
  [ -x "$python" ] || continue
  version=${python##*/}
  chroot "$root" "/usr/bin/$version" -I -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(test|tests|idlelib|lib2to3|turtledemo)/' "/usr/lib/$version"
done
