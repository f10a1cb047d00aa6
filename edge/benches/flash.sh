#!/usr/bin/env bash
# Counts what one publisher costs the flash: syncs and writes for each group, and bytes written for
# each byte of payload, as the kernel sees them. Needs strace.
#
#   edge/benches/flash.sh                        # 1,000 messages of 256 B, 100 a second, one by one
#   COUNT=10000 RATE=0 INFLIGHT=100 edge/benches/flash.sh
#
# A message is stored because a session that is kept and offline wants it. The journal is written by
# every group, once; the segments and the state only when a flush is due, which the totals include.
set -euo pipefail
cd "$(dirname "$0")/../.."
count=${COUNT:-1000} rate=${RATE:-100} inflight=${INFLIGHT:-1} size=${SIZE:-256}
command -v strace >/dev/null || { echo "skipped: strace is not installed"; exit 0; }

cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=$PWD/target/release/robustmq-edge
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d)
tracer=
# The tracer ends with the gateway, its only child.
trap '[ -z "$tracer" ] || pkill -TERM -P "$tracer" || true; wait; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 10000))
printf '[gateway]\ndata = "%s/data"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n' \
  "$work" "$port" >"$work/conf"

strace -f -y -s 0 -o "$work/trace" -e trace=pwrite64,pwritev,write,writev,fdatasync,fsync,ftruncate \
  "$edge" run --config "$work/conf" &
tracer=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$tracer"; done

"$mqload" ledger-sub-init --port "$port" >/dev/null
sleep 1 # The session's own commit is not what is counted.
from=$(wc -l <"$work/trace")
"$mqload" ledger-pub --port "$port" --log "$work/acked" --count "$count" --rate "$rate" \
  --inflight "$inflight" --size "$size" --seconds 600 >/dev/null
to=$(wc -l <"$work/trace")
acked=$(wc -l <"$work/acked")

# A call that another thread interrupts is two lines; the second has the result but not the file.
sed -n "$((from + 1)),${to}p" "$work/trace" | awk -v acked="$acked" -v size="$size" '
  /resumed>/ { split($0, name, "<... "); call = name[2]; sub(/ .*/, "", call); file = open[$1] }
  !/resumed>/ {
    call = $2; sub(/\(.*/, "", call)
    file = $0; if (!sub(/.*data\//, "", file)) file = ""; sub(/>.*/, "", file)
    if (/unfinished/) { open[$1] = file; next }
  }
  file == "" { next }
  call ~ /write/ { writes[file]++; all_writes++; bytes[file] += $NF; all_bytes += $NF }
  call ~ /sync/ { syncs[file]++; all_syncs++ }
  END {
    groups = writes["journal"]
    printf "acknowledged            %d of %d B\n", acked, size
    printf "messages a group        %.3f\n", acked / groups
    printf "journal syncs a group   %.3f\n", syncs["journal"] / groups
    printf "all syncs a group       %.3f\n", all_syncs / groups
    printf "all writes a group      %.3f\n", all_writes / groups
    printf "bytes a payload byte    %.2f (journal %.2f)\n", all_bytes / acked / size, bytes["journal"] / acked / size
    for (file in writes) printf "  %-36s %7d writes %7d syncs %10d bytes\n", file, writes[file], syncs[file], bytes[file]
  }'
