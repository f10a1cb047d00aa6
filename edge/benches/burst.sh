#!/usr/bin/env bash
# What a burst for very many subscribers costs in memory: some with kept sessions, some that do not
# acknowledge, and some that do not even read, until the others have everything.
#
#   edge/benches/burst.sh                         # 8,000 subscribers, 50 messages of 108 B at QoS 1
#   SUBS=2000 COUNT=500 SIZE=1000 edge/benches/burst.sh
#   EDGE=/path/to/another/build edge/benches/burst.sh --kept 0 --qos 2
#
# Under `limits.memory_bytes` of 100 MB ($MEMORY). Prints the highest resident memory of the gateway
# (VmHWM) from its start on, and fails when it is above the ceiling, or when a subscriber does not
# get each message once, in order.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ -n "${EDGE:-}" ] || cargo build --release --quiet -p robustmq-edge
[ -n "${MQLOAD:-}" ] || cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=${EDGE:-$PWD/target/release/robustmq-edge}
mqload=${MQLOAD:-$PWD/edge/benches/mqload/target/release/mqload}
subs=${SUBS:-8000} memory=${MEMORY:-100000000}
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 10000))
printf '[gateway]\ndata = "%s/data"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n' \
  "$work" "$port" >"$work/conf"
printf '[limits]\nmemory_bytes = %s\nconnections = %s\nsessions = %s\n' \
  "$memory" $((subs + 8)) $((subs + 8)) >>"$work/conf"

"$edge" run --config "$work/conf" &
broker=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$broker"; done
"$mqload" burst --port "$port" --subs "$subs" --count "${COUNT:-50}" --size "${SIZE:-108}" \
  --pid "$broker" "$@" | tee "$work/out"
peak=$(($(awk '/^VmHWM:/ { print $2 }' "/proc/$broker/status") * 1024))
echo "ceiling $memory, at most $peak"
[ "$peak" -le "$memory" ]
