#!/bin/sh
# Run by mmdebstrap when the packages are unpacked, with the new root as its argument. Leaves in /.sampan what the tar
# reader wants to know: `status` (the packages, in the format of dpkg's own), `offers` (packages of the release that OFFERED
# matches, with their versions) and the web server's files. LEFT_OUT (shell patterns), OFFERED and WEB_SERVER come from the environment. Standard output is the archive: nothing may be written to it.
set -eu
exec >&2
root=$1

# In a shell of its own: there a pattern is not one of files.
left_out() (
  set -f
  for pattern in $LEFT_OUT; do
    # shellcheck disable=SC2254
    case $1 in $pattern) exit 0 ;; esac
  done
  exit 1
)

notes=$root/.sampan
mkdir -p "$notes/web-server"

# dpkg-deb prints names with a leading "./"; only files and links are removed, directories may be shared.
for archive in "$root"/var/cache/apt/archives/*.deb; do
  name=$(dpkg-deb --field "$archive" Package)
  if left_out "$name"; then
    dpkg-deb --fsys-tarfile "$archive" | tar --list --file - | grep -v '/$' | (cd "$root" && xargs -r -d '\n' rm -f --)
    continue
  fi
  dpkg-deb --field "$archive" >"$notes/field"
  sed '1a Status: install ok installed' "$notes/field" >>"$notes/status"
  echo >>"$notes/status"
done
rm -f "$notes/field"

[ -z "$OFFERED" ] || APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache dumpavail |
  awk '/^Package: /{name=$2} /^Version: /{version=$2} /^$/{if (name ~ ENVIRON["OFFERED"]) print name, version}' |
  sort --unique >"$notes/offers"

[ -n "$WEB_SERVER" ] || exit 0
mkdir "$notes/download"
# apt drops its rights for downloads where it can: the directory must be writable for its user.
chmod 0777 "$notes" "$notes/download"
cd "$notes/download"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet --quiet download $WEB_SERVER
for archive in ./*.deb; do dpkg-deb --extract "$archive" ./root; done
cp root/usr/sbin/nginx root/etc/nginx/mime.types "$notes/web-server/"
mkdir "$notes/web-server/licences"
for name in $WEB_SERVER; do cp "root/usr/share/doc/$name/copyright" "$notes/web-server/licences/$name"; done
cd /
rm -rf "$notes/download"
chmod 0755 "$notes"
