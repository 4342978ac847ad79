# Sourced before an app starts: fits the JVM into its container. What the JVM needs besides its heap is counted first, as
# Cloud Foundry's memory calculator does; the heap gets the rest. Where little would be left, fewer threads and less compiled
# code are reckoned with. Options that the user gives in JAVA_TOOL_OPTIONS or JAVA_OPTS come after these, and win.
jvm_memory() {
  local limit=${MEMORY_LIMIT:-} total classes metaspace most sizes threads code heap
  case $limit in
  *[gG]) total=$((${limit%?} * 1024)) ;;
  *[mM]) total=${limit%?} ;;
  *)
    limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1)
    case $limit in '' | *[!0-9]*) return 0 ;; esac
    total=$((limit / 1048576))
    ;;
  esac
  # Without a limit the JVM's own reckoning is as good.
  [ "$total" -gt 0 ] && [ "$total" -lt 1048576 ] || return 0
  total=$((total - total * ${BPL_JVM_HEAD_ROOM:-0} / 100))
  # A third of all classes is loaded, at 5,800 bytes each.
  classes=${BPL_JVM_LOADED_CLASS_COUNT:-$((@CLASSES@ * 35 / 100))}
  metaspace=$((14 + classes * 58 / 10000))
  most=${BPL_JVM_THREAD_COUNT:-250}
  for sizes in "$most 240" '100 120' '40 64' '20 48'; do
    threads=${sizes% *}
    [ "$threads" -le "$most" ] || threads=$most
    code=${sizes#* }
    heap=$((total - 10 - metaspace - code - threads))
    [ "$heap" -lt $((total * 3 / 10)) ] || break
  done
  if [ "$heap" -lt 16 ]; then
    echo "Java does not fit into $total MB: $((total - heap + 16)) MB are the least (cf scale -m)" >&2
    exit 1
  fi
  export JAVA_TOOL_OPTIONS="-Xmx${heap}M -XX:MaxMetaspaceSize=${metaspace}M -XX:ReservedCodeCacheSize=${code}M -Xss1M -XX:MaxDirectMemorySize=10M -XX:+ExitOnOutOfMemoryError ${JAVA_TOOL_OPTIONS:-}"
}
jvm_memory
unset -f jvm_memory
# Where frameworks look for the port: Spring Boot, Quarkus, Micronaut.
if [ -n "${PORT:-}" ]; then
  : "${SERVER_PORT:=$PORT}" "${QUARKUS_HTTP_PORT:=$PORT}" "${MICRONAUT_SERVER_PORT:=$PORT}"
  export SERVER_PORT QUARKUS_HTTP_PORT MICRONAUT_SERVER_PORT
fi
