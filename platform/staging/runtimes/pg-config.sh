#!/bin/sh
# `pg_config` of PostgreSQL's client library. Debian's program (/usr/bin/pg_config) is written in Perl, which is not there; what it
# answers stands at its end, a line for each: `LIBDIR = /usr/lib/x86_64-linux-gnu`.
exec awk -v asked="$*" '
  /^__DATA__$/ { data = 1; next }
  !data { next }
  /^$/ { exit }
  {
    name = $1
    sub(/^[^ ]+ = ?/, "")
    value["--" tolower(name)] = $0
    if (asked == "") print name " = " $0
  }
  END {
    count = split(asked, words, " ")
    for (i = 1; i <= count; i++) {
      if (!(words[i] in value)) {
        print "pg_config: invalid argument: " words[i]
        exit 1
      }
      print value[words[i]]
    }
  }
' /usr/bin/pg_config
