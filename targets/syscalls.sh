#!/usr/bin/env bash
# targets/syscalls.sh [TARGET]
# Runs a gateway under a mixed load (MQTT, TLS, a Unix socket, NATS, an uplink that goes and comes
# back, users, SIGHUP, a backup, a kill) and every other command, and fails on a system call that is
# not in targets/system-calls. Without TARGET it traces $GATEWAY, or target/debug/robustmq-edge, with
# strace; with one it traces what cross/build.sh TARGET made, a foreign one by qemu's own means.
# Needs strace, mosquitto, mosquitto-clients and openssl; qemu-user-static for a foreign target.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/nats.bash
. cross/emulator.bash
target=${1-}
if [ -n "$target" ]; then
  binary=${CARGO_TARGET_DIR:-target/cross}/$target/release/robustmq-edge maker="cross/build.sh $target"
else
  binary=${GATEWAY:-target/debug/robustmq-edge} maker="cargo build -p robustmq-edge"
fi
[ -x "$binary" ] || { echo "there is no $binary: $maker makes it" >&2; exit 1; }
binary=$(realpath "$binary")
emulator "${target:-$(uname -m)-}"
tracer=(strace -f -qq -s 0 -e signal=none) file=-o
[ ${#emulator[@]} -eq 0 ] || tracer=("${emulator[@]}" -strace) file=-D
for program in "${tracer[0]}" mosquitto_pub mosquitto_sub openssl; do
  command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)

work=$(mktemp -d)
gateway="" cloud="" traces=0
stop() { kill -9 $gateway $cloud 2>/dev/null || true; wait 2>/dev/null || true; }
trap 'stop; rm -rf "$work"' EXIT
fail() { echo "system calls: $*" >&2; tail -n 20 "$work/log" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
plain=$(free_port) tls=$(free_port) nats=$(free_port) upward=$(free_port)

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" -addext basicConstraints=critical,CA:FALSE \
  -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat >"$work/gateway.toml" <<CONFIG
[gateway]
id = "traced"
data = "$work/data"
[[listener]]
address = "127.0.0.1:$plain"
password_file = "$work/users"
allow_anonymous = true
[[listener]]
address = "127.0.0.1:$tls"
[listener.tls]
certificate_file = "$work/cert.pem"
key_file = "$work/key.pem"
[[listener]]
address = "unix:$work/socket"
[[listener]]
address = "127.0.0.1:$nats"
protocol = "nats"
[cloud]
endpoints = ["mqtts://localhost:$upward"]
ca_file = "$work/cert.pem"
uplink = ["plant/#"]
[durability]
segment_bytes = 1048576
journal_bytes = 4194304
[retention.normal]
max_bytes = 4194304
[limits]
connections = 200
[sync]
backoff_max_seconds = 1
CONFIG
cat >"$work/cloud.conf" <<CONFIG
listener $upward 127.0.0.1
certfile $work/cert.pem
keyfile $work/key.pem
allow_anonymous true
max_queued_messages 0
user root
CONFIG

traced() { # COMMAND ARGUMENTS: to its end
  "${tracer[@]}" "$file" "$work/trace.$((++traces))" "$binary" "$@" >/dev/null 2>>"$work/log" || fail "$1 does not work"
}
wait_for() { # PORT
  for _ in $(seq 300); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    sleep 0.1
  done
  fail "nothing answers on port $1"
}
start_cloud() { "$mosquitto" -c "$work/cloud.conf" >/dev/null 2>&1 & cloud=$!; wait_for "$upward"; }
wait_for_uplink() { # COUNT: of connections that came up
  for _ in $(seq 300); do
    if [ "$(grep -c 'cloud: connection . is up' "$work/log")" -ge "$1" ]; then return; fi
    sleep 0.1
  done
  fail "the cloud is not reached"
}
start_gateway() {
  : $((++traces)) # here, since what is started behind & counts for itself
  "${tracer[@]}" "$file" "$work/trace.$traces" "$binary" run --config "$work/gateway.toml" 2>>"$work/log" &
  tracing=$!
  wait_for "$plain"
  # An emulator is the gateway; of strace the gateway is a child.
  gateway=$tracing
  [ ${#emulator[@]} -gt 0 ] || gateway=$(ps -o pid= --ppid "$tracing" | tr -d ' ')
}
end_gateway() { # SIGNAL
  kill "-$1" "$gateway"
  wait "$tracing" 2>/dev/null || true
}

traced passwd -b secret "$work/users" operator
traced check --config "$work/gateway.toml"
start_cloud
start_gateway
wait_for_uplink 2
mosquitto_sub -p "$plain" -i display -c -q 1 -t 'plant/#' -E
seq 300 | mosquitto_pub -p "$plain" -i sensor -q 1 -t plant/count -u operator -P secret -l || fail "no MQTT"
head -c 3000 /dev/zero | tr '\0' x >"$work/large"
seq 300 | sed "s/\$/$(cat "$work/large")/" | mosquitto_pub -p "$plain" -q 1 -t plant/large -l || fail "no MQTT"
seq 50 | mosquitto_pub -h localhost -p "$tls" --cafile "$work/cert.pem" -q 2 -t plant/tls -l || fail "no TLS"
mosquitto_pub --unix "$work/socket" -q 1 -t plant/unix -m here || fail "no Unix socket"
nats_open "$nats" && nats_publish plant.nats here || fail "no NATS"
nats_close
kill "$cloud" && wait "$cloud" 2>/dev/null || true
kill -HUP "$gateway"
seq 1500 | sed "s/\$/$(cat "$work/large")/" | mosquitto_pub -p "$plain" -q 1 -t plant/large -l || fail "no MQTT"
start_cloud
wait_for_uplink 3
traced backup "$work/data" "$work/backup.tar"
traced status --config "$work/gateway.toml"
traced replay --config "$work/gateway.toml" --lane normal
timeout 120 mosquitto_sub -p "$plain" -i display -c -q 1 -t 'plant/#' -C 200 >/dev/null || fail "no session"
end_gateway KILL
traced inspect "$work/data"
traced fsck "$work/data"
traced export "$work/data" --lane normal
start_gateway
seq 50 | mosquitto_pub -p "$plain" -q 1 -t plant/count -l || fail "no MQTT after a kill"
end_gateway TERM

# A deadline that is a whole second is one that the kernel reads otherwise than it was written.
! grep -aqE 'FUTEX_WAIT_BITSET.*tv_nsec ?= ?0\}' "$work"/trace.* || fail "waits end early"

# Both say `PID name(...)`; what goes on after another thread's line says its name at its beginning.
cat "$work"/trace.* | grep -aoE '^[0-9]+ +[a-z_0-9]+\(' | grep -oE '[a-z_0-9]+\($' | tr -d '(' | sort -u >"$work/made"
sed 's/#.*//' targets/system-calls | tr -s ' ' '\n' | sort -u | grep . >"$work/listed"
[ "$(wc -l <"$work/made")" -gt 30 ] || fail "the trace is empty"
more=$(comm -23 "$work/made" "$work/listed" | tr '\n' ' ')
[ -z "$more" ] || fail "not in targets/system-calls: $more"
echo "system calls of ${target:-this machine}: $(wc -l <"$work/made") made, all of the $(wc -l <"$work/listed") listed"
[ -z "${VERBOSE-}" ] || tr '\n' ' ' <"$work/made"
