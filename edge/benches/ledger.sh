#!/usr/bin/env bash
# Kills the gateway with SIGKILL at random moments while a publisher sends at full rate, and checks
# after each kill that every acknowledged message is delivered by the kept session.
#
#   edge/benches/ledger.sh          # 20 kills
#   KILLS=3 QOS=2 edge/benches/ledger.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
kills=${KILLS:-20} qos=${QOS:-1}

cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=$PWD/target/release/robustmq-edge
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 10000))
printf '[gateway]\ndata = "%s/data"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n' \
  "$work" "$port" >"$work/conf"

start() {
  "$edge" run --config "$work/conf" &
  broker=$!
  disown "$broker"
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$broker"; done
}

start
"$mqload" ledger-sub-init --port "$port" --qos "$qos" >/dev/null
for ((kill = 1; kill <= kills; kill++)); do
  "$mqload" ledger-pub --port "$port" --qos "$qos" --log "$work/acked" --inflight 100 \
    --from "$(($([ -s "$work/next" ] && cat "$work/next" || echo 0)))" --seconds 60 --json >"$work/pub" &
  publisher=$!
  sleep "0.$((RANDOM % 9 + 1))"
  kill -9 "$broker"
  while kill -0 "$broker" 2>/dev/null; do :; done
  wait "$publisher"
  grep -o '"next":[0-9]*' "$work/pub" | cut -d: -f2 >"$work/next"
  start
  "$mqload" ledger-check --port "$port" --log "$work/acked" --seen "$work/seen" --ordered \
    --idle-ms 30000 --seconds 300 --json >"$work/check" || {
    cat "$work/check"
    echo "kill $kill: FAILED"
    exit 1
  }
  printf 'kill %2d: %s\n' "$kill" "$(grep -oE '"(acknowledged|acked|received|missing|duplicates|out_of_order)":[0-9]+' "$work/check" | tr -d '"' | tr '\n' ' ')"
done
echo "$kills kills, nothing acknowledged is missing"
