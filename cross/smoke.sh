#!/usr/bin/env bash
# cross/smoke.sh TARGET
# Runs what cross/build.sh TARGET made, under qemu-user where it is not this machine's own: devices
# publish and agents send mail while the cloud (Debian's mosquitto) is away, the gateway is killed
# and started again, the cloud comes, and everything that was acknowledged has to be there, in
# order. Needs mosquitto, mosquitto-clients and, for foreign targets, qemu-user-static (or
# qemu-user), with strace for 32-bit ARM.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/nats.bash
. cross/emulator.bash
target=${1:?target, for example aarch64-unknown-linux-musl}
binary=${CARGO_TARGET_DIR:-target/cross}/$target/release/robustmq-edge
count=${COUNT:-2000} mails=${MAILS:-50}
[ -x "$binary" ] || { echo "no $binary: cross/build.sh $target makes it" >&2; exit 1; }

emulator "$target"
for program in mosquitto_pub mosquitto_sub; do
  command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)

folder=$(mktemp -d)
gateway= cloud=
stop() { kill -9 $gateway $cloud 2>/dev/null || true; wait 2>/dev/null || true; }
trap 'stop; rm -rf "$folder"' EXIT
fail() { echo "$target: $*" >&2; cat "$folder/log" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port) cloud_port=$(free_port) nats_port=$(free_port)

cat >"$folder/gateway.toml" <<CONFIG
[gateway]
id = "smoke"
data = "$folder/data"
[[listener]]
address = "127.0.0.1:$port"
[[listener]]
address = "127.0.0.1:$nats_port"
protocol = "nats"
mq9_payload = "utf8"
[cloud]
endpoints = ["mqtt://127.0.0.1:$cloud_port"]
uplink = ["plant/#"]
[sync]
backoff_max_seconds = 1
CONFIG
cat >"$folder/cloud.conf" <<CONFIG
listener $cloud_port 127.0.0.1
allow_anonymous true
max_queued_messages 0
user root
persistence true
persistence_location $folder/
CONFIG

wait_for() { # PORT: until an MQTT server answers there
  for _ in $(seq 300); do
    if mosquitto_pub -p "$1" -i probe -t probe -n 2>/dev/null; then return; fi
    sleep 0.1
  done
  fail "nothing answers on port $1"
}
start_cloud() {
  "$mosquitto" -c "$folder/cloud.conf" >/dev/null 2>&1 &
  cloud=$!
  wait_for "$cloud_port"
}
start_gateway() {
  "${emulator[@]}" "$binary" run --config "$folder/gateway.toml" 2>>"$folder/log" &
  gateway=$!
  wait_for "$port"
}
# ask SUBJECT PAYLOAD: prints the answer of mq9, which says that there was no error.
ask() {
  local answer
  answer=$(nats_request "\$mq9.AI.$1" "$2") || fail "no answer to $1: $answer"
  [[ $answer == *'"error":""'* ]] || fail "$1: $answer"
  echo "$answer"
}
send_mail() { # FROM TO
  nats_open "$nats_port" || fail "does not speak NATS"
  local number
  for number in $(seq "$1" "$2"); do ask MSG.SEND.plant.inbox "order $number" >/dev/null || exit 1; done
  nats_close
}
publish() { seq "$1" "$2" | mosquitto_pub -p "$port" -i sensor -q 1 -t plant/count -l || fail "is not acknowledged"; }

# The cloud knows its reader and goes away.
start_cloud
mosquitto_sub -p "$cloud_port" -i reader -c -q 1 -t plant/count -E
kill "$cloud" && wait "$cloud"

start_gateway
mosquitto_sub -p "$port" -i display -c -q 1 -t plant/count -E
publish 1 $((count / 2))
nats_open "$nats_port" && ask MAILBOX.CREATE '{"name":"plant.inbox"}' >/dev/null
nats_close
send_mail 1 $((mails / 2))
kill -9 "$gateway" && wait "$gateway" 2>/dev/null || true
start_gateway
publish $((count / 2 + 1)) "$count"
send_mail $((mails / 2 + 1)) "$mails"
start_cloud

seq "$count" >"$folder/expected"
read_all() { timeout 120 mosquitto_sub -p "$1" -i "$2" -c -q 1 -t plant/count -C "$count" >"$folder/$2" || fail "$2 waits"; }
read_all "$port" display
cmp -s "$folder/expected" "$folder/display" || fail "the kept session got something else"
read_all "$cloud_port" reader
cmp -s "$folder/expected" "$folder/reader" || fail "the cloud got something else"
seq "$mails" | sed 's/^/order /' >"$folder/expected"
nats_open "$nats_port"
ask MSG.FETCH.plant.inbox "{\"deliver\":\"earliest\",\"config\":{\"num_msgs\":$mails}}" |
  grep -o '"payload":"order [0-9]*"' | grep -o 'order [0-9]*' >"$folder/mail"
nats_close
cmp -s "$folder/expected" "$folder/mail" || fail "the mailbox holds something else"
started=$(grep -m 1 -o 'robustmq-edge [0-9.]* on [a-z0-9_]*' "$folder/log") || fail "does not say what it runs on"
echo "$target: $started: $count acknowledged, $mails mails; killed once; all at the session, in the cloud and in the box"
