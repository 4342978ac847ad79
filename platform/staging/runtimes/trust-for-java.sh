#!/bin/sh
# Run by mmdebstrap when the packages are unpacked, with the new root as its argument. Writes the store of authorities that
# Java reads from the certificates of the stack's own package; NODE is the Node.js that runs the platform.
set -eu
exec >&2
mkdir -p "$1/etc/ssl/certs/java"
exec "$NODE" "${0%/*}/trust-for-java.ts" "$1"
