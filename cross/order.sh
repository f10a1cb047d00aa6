#!/usr/bin/env bash
# cross/order.sh
# Writes cross/order: the functions that a gateway runs at its start, for a device and while it waits,
# as qemu-user sees them. cross/zig puts them beside each other, so that only they are resident.
# Worth a run after the start or the way of a message has changed much; what is not in the list, or
# no longer there, does no harm. Needs mosquitto-clients and qemu-user-static.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
export CARGO_TARGET_DIR=target/order CARGO_PROFILE_RELEASE_STRIP=false
binary=${1:-$CARGO_TARGET_DIR/$target/release/robustmq-edge}
# With its names it is above the budget.
[ $# -gt 0 ] || cross/build.sh "$target" || [ -x "$binary" ]

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/gateway.toml" <<CONFIG
[gateway]
data = "$folder/data"
[[listener]]
address = "127.0.0.1:$port"
[limits]
connections = 2000
CONFIG
qemu-x86_64-static -cpu max -d in_asm,nochain -D "$folder/trace" "$binary" run --config "$folder/gateway.toml" &
gateway=$!
until mosquitto_pub -p "$port" -i sensor -q 1 -t plant/a -m 1 2>/dev/null; do sleep 0.5; done
mosquitto_sub -p "$port" -i display -c -q 1 -t plant/a -C 20 >/dev/null &
sleep 1
seq 20 | mosquitto_pub -p "$port" -i sensor -q 1 -t plant/a -l
wait $!
sleep 12
kill "$gateway"
wait "$gateway" || true

# A function was run if an address of the trace is behind its own and before the next one's. qemu
# loads the program at 0x4000000000, and knows nothing of Landlock.
{
  {
    nm "$binary" | awk '$2 ~ /[tT]/ { print $1, $3 }'
    sed -n 's/^0x40\([0-9a-f]\{8\}\):.*/00000000\1/p' "$folder/trace" | sort -u
  } | sort | awk 'NF == 2 { name = $2 } NF == 1 { print name }'
  nm "$binary" | awk '$2 ~ /[tT]/ && /landlock/ { print $3 }'
} | c++filt | sed -f cross/names.sed | sed '/^$/d' | LC_ALL=C sort -u >cross/order
wc -l cross/order
