#!/bin/sh
# Starts the server of a database pod with the options that it is given. /data is the volume, /tls the certificate.
# Killed anywhere it does the same again: a data directory has its name only when it is whole.
set -eu
data=/data/pgdata
ballast=/data/ballast

# The volume belongs to one server. A pod that was deleted by force may live on beside the one after it: that one waits until the other,
# whose processes have this lock too, is gone.
exec 9>/data/lock
flock 9

free_kb() {
  stat -f -c '%a %S' /data | { read -r blocks size && echo $((blocks * size / 1024)); }
}

rm -f "$ballast.new"

# Of a volume without room not even a crash can be recovered from: some was set aside. Until there is more nobody writes by accident.
full=off
if [ -f "$data/PG_VERSION" ] && [ "$(free_kb)" -lt 8192 ]; then
  rm -f "$ballast"
  full=on
elif [ ! -f "$ballast" ] && [ "$(free_kb)" -gt 65536 ]; then
  dd if=/dev/zero of="$ballast.new" bs=1048576 count=24 2>/dev/null
  mv "$ballast.new" "$ballast"
fi

if [ ! -f "$data/PG_VERSION" ]; then
  rm -rf "$data" /data/new
  initdb --pgdata=/data/new --username=postgres --auth=peer --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  mv /data/new "$data"
  sync
fi
# Whoever wrote this is dead, whatever process has its number here.
rm -f "$data/postmaster.pid"
chmod 0700 "$data"

# Without ballast the volume is full still, even where something was freed: the server starts anew when there is room for both.
[ -f "$ballast" ] || full=on

postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp -c password_encryption=scram-sha-256 \
  -c hba_file="${HBA_FILE:-/etc/postgresql/hba-tls.conf}" -c ident_file=/etc/postgresql/ident.conf \
  -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key -c ssl_min_protocol_version=TLSv1.2 \
  -c jit=off -c log_destination=stderr -c logging_collector=off -c log_line_prefix='' -c log_connections=off \
  -c sampan.full="$full" -c default_transaction_read_only="$full" "$@" &
server=$!
# SIGTERM would wait for clients: SIGINT ends their sessions and writes everything down.
trap 'kill -INT "$server"' TERM INT
status=0
while :; do
  wait "$server" && status=0 || status=$?
  kill -0 "$server" 2>/dev/null || exit "$status"
done
