#!/usr/bin/env bash
# Measures the mail of a gateway, and prints a Markdown table: memory with 10,000 mailboxes of 100
# messages each under the default ceiling of 64 MiB, how long a FETCH takes while MQTT moves 20,000
# messages a second, and how many SENDs a second 100 clients get answered beside what 100 publishers
# get acknowledged at QoS 1, both synced before the answer, in turns of one run.
#
#   edge/benches/mail.sh                       # some three minutes
#   EDGE=/path/to/another/build MAILBOXES=1000 edge/benches/mail.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
mailboxes=${MAILBOXES:-10000} messages=${MESSAGES:-100} rounds=${ROUNDS:-7} seconds=${SECONDS_EACH:-3}

[ -n "${EDGE:-}" ] || cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=${EDGE:-$PWD/target/release/robustmq-edge}
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d)
gateway=
trap '[ -z "$gateway" ] || { kill "$gateway"; wait "$gateway"; } 2>/dev/null; rm -rf "$work"' EXIT
mqtt=$((20000 + RANDOM % 10000)) nats=$((31000 + RANDOM % 1000))

cat >"$work/conf" <<EOF
[gateway]
data = "$work/data"
[[listener]]
address = "127.0.0.1:$mqtt"
[[listener]]
address = "127.0.0.1:$nats"
protocol = "nats"
[mq9]
mailboxes = $mailboxes
[limits]
connections = 300
[log]
level = "warn"
EOF
"$edge" check --config "$work/conf" >"$work/check" || { cat "$work/check"; exit 1; }
"$edge" run --config "$work/conf" &
gateway=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$nats") 2>/dev/null; do
  kill -0 "$gateway" || { echo "the gateway does not start" >&2; exit 1; }
done

field() { grep -o "\"$1\":[0-9.]*" "$2" | head -n 1 | cut -d: -f2; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
mb() { awk "BEGIN { printf \"%.1f MB\", $1 / 1e6 }"; }
mail() { "$mqload" mail "$@" --address "127.0.0.1:$nats" --mailboxes "$mailboxes" --pid "$gateway" --json; }

mail fill --messages "$messages" >"$work/fill"
for ((round = 1; round <= rounds; round++)); do
  "$mqload" bench --port "$mqtt" --rate 20000 --size 64 --pubs 10 --subs 1 --seconds $((seconds + 4)) \
    --json >"$work/load.$round" &
  load=$!
  sleep 1
  mail fetch --clients 10 --rate 200 --seconds "$seconds" >"$work/fetch.$round"
  wait "$load"
  mail fetch --clients 10 --rate 200 --seconds "$seconds" >"$work/quiet.$round"
  "$mqload" fanin --port "$mqtt" --pubs 100 --qos 1 --size 256 --inflight 1 --clean false \
    --seconds "$seconds" --json >"$work/mqtt.$round"
  mail send --clients 100 --own --seconds "$seconds" >"$work/own.$round"
  mail send --clients 100 --seconds "$seconds" >"$work/send.$round"
done

of() { for file in "$work/$2".*; do field "$1" "$file"; done | median; }
ms() { awk "BEGIN { printf \"%.2f ms\", $(of "$1" "$2") / 1000 }"; }
share() {
  for ((round = 1; round <= rounds; round++)); do
    awk "BEGIN { printf \"%.2f\\n\", $(field rate "$work/$1.$round") / $(field publish_rate "$work/mqtt.$round") }"
  done | median
}
echo "| what | |"
echo "| --- | --- |"
echo "| RSS before, and with $mailboxes mailboxes of $messages messages of 256 B | $(mb "$(field rss_before "$work/fill")"), $(mb "$(field rss_after "$work/fill")") |"
echo "| the most RSS of the whole run; limits.memory_bytes | $(mb "$(field rss_most "$work/send.$rounds")"), 67.1 MB |"
echo "| FETCH of 10 messages, p50 and p99 | $(ms latency_p50_us quiet), $(ms latency_p99_us quiet) |"
echo "| the same beside MQTT at $(of publish_rate load) msg/s, QoS 0 | $(ms latency_p50_us fetch), $(ms latency_p99_us fetch) |"
echo "| PUBACK/s, 100 publishers, QoS 1, one at a time | $(of publish_rate mqtt) |"
echo "| SEND/s, 100 clients, each to a mailbox of its own; for each PUBACK of its round | $(of rate own); $(share own) |"
echo "| SEND/s, 100 clients, to any of all mailboxes; for each PUBACK of its round | $(of rate send); $(share send) |"
