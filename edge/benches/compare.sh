#!/usr/bin/env bash
# Compares robustmq-edge with mosquitto and nats-server, each started afresh for each figure, and
# prints a Markdown table of medians. All three run in turn in every round, so that a busy machine
# hurts all alike: compare ratios, not rates.
#
#   edge/benches/compare.sh              # 5 rounds of 3 seconds
#   ROUNDS=1 SECONDS_EACH=1 edge/benches/compare.sh
#   EDGE=/path/to/another/build edge/benches/compare.sh
#   edge/benches/compare.sh durable      # PUBACK/s with 1, 10 and 100 publishers, p50 and p99
#
# With `durable` a kept session makes each message durable here, before its PUBACK. mosquitto has no
# persistence and nats-server its defaults: they acknowledge what is in memory or the page cache.
#
# Needs mosquitto and nats-server from Debian's packages; a broker that is missing is left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-3}

[ -n "${EDGE:-}" ] || cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=${EDGE:-$PWD/target/release/robustmq-edge}
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d)
chmod 777 "$work"
broker=
ulimit -n "$(ulimit -Hn)"
trap '[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 10000))

start() { # broker name
  rm -rf "$work/data"
  mkdir -m 777 "$work/data"
  case $1 in
    robustmq-edge)
      printf '[gateway]\ndata = "%s"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n[limits]\n' \
        "$work/data/edge" "$port" >"$work/conf"
      printf "$limits" >>"$work/conf"
      "$edge" run --config "$work/conf" & ;;
    mosquitto)
      printf 'listener %s 127.0.0.1\nallow_anonymous true\nlog_type error\nmax_queued_messages 0\n' "$port" >"$work/conf"
      mosquitto -c "$work/conf" 2>/dev/null & ;;
    nats-server)
      printf 'listen: "127.0.0.1:%s"\nserver_name: x\njetstream { store_dir: "%s" }\nmqtt { host: "127.0.0.1", port: %s }\n' \
        $((port + 1)) "$work/data" "$port" >"$work/conf"
      nats-server -c "$work/conf" 2>/dev/null & ;;
  esac
  broker=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$broker" || { echo "$1 does not start" >&2; exit 1; }
  done
}

stop() {
  kill "$broker"
  wait "$broker" 2>/dev/null || true
  broker=
}

field() { grep -o "\"$1\":[0-9.]*" "$work/out" | head -n 1 | cut -d: -f2; }

median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# figure name | field | mqload arguments
figures=(
  "QoS 0, 64 B, 1 to 1: CPU s per million|broker_cpu_s_per_m_delivered|bench --size 64"
  "QoS 0, 256 B, 1 to 1: CPU s per million|broker_cpu_s_per_m_delivered|bench --size 256"
  "QoS 0, 256 B, 1 to 50: CPU s per million delivered|broker_cpu_s_per_m_delivered|fanout --subs 50 --size 256"
  "QoS 0, 256 B, 10,000/s: CPU s per million|broker_cpu_s_per_m_delivered|bench --size 256 --rate 10000"
  "QoS 1, 256 B, 10 to 1 kept session: CPU s per million|broker_cpu_s_per_m_delivered|fanin --qos 1 --size 256 --inflight 100 --clean false"
  "QoS 1, 256 B, 10 to 1 kept session: PUBACK/s|publish_rate|fanin --qos 1 --size 256 --inflight 100 --clean false"
  "RSS idle, MB|rss_before|idle --conns 1000"
  "RSS with 1,000 connections, MB|rss_up|idle --conns 1000"
  "RSS with 10,000 connections, MB|rss_up|idle --conns 10000"
)

if [ "${1:-}" = durable ]; then
  figures=()
  for window in 1 100; do
    for publishers in 1 10 100; do
      figures+=("$publishers publishers, $window in flight each: PUBACK/s (p50, p99 in ms)|publish_rate,ack_p50_us,ack_p99_us|fanin --qos 1 --size 256 --clean false --pubs $publishers --inflight $window")
    done
  done
fi

brokers=(robustmq-edge)
for peer in mosquitto nats-server; do
  if command -v "$peer" >/dev/null || [ -x "/usr/sbin/$peer" ]; then brokers+=("$peer"); fi
done
PATH=$PATH:/usr/sbin

for ((round = 1; round <= rounds; round++)); do
  for name in "${brokers[@]}"; do
    for i in "${!figures[@]}"; do
      IFS='|' read -r _ key arguments <<<"${figures[$i]}"
      limits='connections = 2000\n'
      # More than the default ceiling of memory has room for.
      [[ $arguments != *10000 ]] || limits='connections = 11000\nsessions = 11000\nmemory_bytes = 134217728\n'
      start "$name"
      # shellcheck disable=SC2086
      if timeout 120 "$mqload" $arguments --port "$port" --seconds "$seconds" --pid "$broker" --json >"$work/out" 2>&1; then
        for each in ${key//,/ }; do
          value=$(field "$each")
          case $each in rss_*) value=$(awk "BEGIN { printf \"%.1f\", $value / 1e6 }") ;; esac
          case $each in *_us) value=$(awk "BEGIN { printf \"%.2f\", $value / 1e3 }") ;; esac
          echo "$value" >>"$work/$name.$i.$each"
        done
      else
        echo "$name: $arguments: $(tail -n 1 "$work/out")" >&2
      fi
      stop
    done
  done
done

printf '| what |'; printf ' %s |' "${brokers[@]}"; printf '\n| --- |'; printf ' --- |%.0s' "${brokers[@]}"; echo
for i in "${!figures[@]}"; do
  IFS='|' read -r what key _ <<<"${figures[$i]}"
  printf '| %s |' "$what"
  for name in "${brokers[@]}"; do
    cell=
    for each in ${key//,/ }; do
      value=$([ -s "$work/$name.$i.$each" ] && median <"$work/$name.$i.$each" || echo "-")
      case $each in *p50*) cell+=" ($value," ;; *p99*) cell+=" $value)" ;; *) cell+=" $value" ;; esac
    done
    printf '%s |' "$cell"
  done
  echo
done
