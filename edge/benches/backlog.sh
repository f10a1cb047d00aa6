#!/usr/bin/env bash
# An offline session misses a million messages of 256 bytes: how much memory does that cost, and
# does it get them all, in order?
#
#   edge/benches/backlog.sh
#   COUNT=100000 edge/benches/backlog.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
count=${COUNT:-1000000}

cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
work=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 10000))
printf '[gateway]\ndata = "%s/data"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n' \
  "$work" "$port" >"$work/conf"
target/release/robustmq-edge run --config "$work/conf" &
broker=$!
disown "$broker"
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$broker"; done

mqload=edge/benches/mqload/target/release/mqload
# Buffers and caches have their size after this.
"$mqload" queue --qos 1 --port "$port" --count 20000 --size 256 --pid "$broker" --prefix warm >/dev/null
"$mqload" queue --qos 1 --port "$port" --count "$count" --size 256 --pid "$broker" --strict
