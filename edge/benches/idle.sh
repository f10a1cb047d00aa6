#!/usr/bin/env bash
# Measures the resident memory of a gateway that has nothing to do: alone, and with 1,000 and 10,000
# idle connections, each with a session and a subscription. Prints a Markdown table.
#
#   edge/benches/idle.sh                       # builds the static binary, needs cross/setup.sh; a minute
#   EDGE=/path/to/another/build SETTLE=12 edge/benches/idle.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
settle=${SETTLE:-5}

if [ -z "${EDGE:-}" ]; then
  target=$(uname -m)-unknown-linux-musl
  cross/build.sh "$target" >&2
  EDGE=$PWD/${CARGO_TARGET_DIR:-target/cross}/$target/release/robustmq-edge
fi
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d)
gateway=
trap '[ -z "$gateway" ] || { kill "$gateway"; wait "$gateway"; } 2>/dev/null; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -Hn)"
port=$((20000 + RANDOM % 10000))

start() { # limits
  rm -rf "$work/data"
  printf '[gateway]\ndata = "%s"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n[limits]\n%b' \
    "$work/data" "$port" "$1" >"$work/conf"
  "$EDGE" run --config "$work/conf" &
  gateway=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$gateway" || { echo "the gateway does not start" >&2; exit 1; }
  done
  sleep "$settle"
}

stop() {
  kill "$gateway"
  wait "$gateway" || true
  gateway=
}

field() { grep -o "\"$1\":-\{0,1\}[0-9.]*" "$work/out" | head -n 1 | cut -d: -f2; }
mb() { awk "BEGIN { printf \"%.1f MB\", $1 / 1e6 }"; }

printf '| %s | RSS | bytes a connection |\n| --- | --- | --- |\n' "$("$EDGE" --version)"
start ''
printf '| idle | %s | |\n' "$(mb "$(awk '$1 == "VmRSS:" { print $2 * 1024 }' "/proc/$gateway/status")")"
stop
for count in 1000 10000; do
  # 10,000 are more than the default ceiling of memory has room for.
  limits="connections = $((count + 1000))\nsessions = $((count + 1000))\n"
  [ "$count" -le 1000 ] || limits+='memory_bytes = 134217728\n'
  start "$limits"
  "$mqload" idle --port "$port" --conns "$count" --seconds "$settle" --pid "$gateway" --json >"$work/out"
  printf '| %s connections | %s | %s |\n' "$count" "$(mb "$(field rss_idle)")" "$(field bytes_per_conn)"
  stop
done
