#!/usr/bin/env bash
# Counts what one publisher costs the flash.
#
#   edge/benches/flash.sh                        # 1,000 messages of 256 B, 100 a second, one by one
#   COUNT=10000 RATE=0 INFLIGHT=100 edge/benches/flash.sh
#   sudo edge/benches/flash.sh device            # bytes of the device, beside mosquitto
#
# By itself: syncs and writes for each group, and bytes written for each byte of payload, as the
# kernel is asked for them. Needs strace. A message is stored because a session that is kept and
# offline wants it. The journal is written by every group, once; the state when a flush is due, and the
# segments then and by groups of 128 KiB and more, which the totals include.
#
# With `device`: bytes that the device is asked to write for each byte of payload, as the block layer
# counts them, one by one and in groups of 100 and 1,000; an ext4 file system of its own on a loop
# device with direct I/O, so that the file system's own journal and metadata are in it; synced at the
# end. Needs root. mosquitto, where it is installed, saves at each change; it then writes all that
# it holds, so its figure grows with the number of messages, and it gets fewer in groups.
set -euo pipefail
cd "$(dirname "$0")/../.."
count=${COUNT:-1000} rate=${RATE:-100} inflight=${INFLIGHT:-1} size=${SIZE:-256}
PATH=$PATH:/usr/sbin:/sbin

[ -n "${EDGE:-}" ] || cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=${EDGE:-$PWD/target/release/robustmq-edge}
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d)
broker='' loop=''

stop() {
  # strace ends with the gateway, its only child.
  [ -z "$broker" ] || { pkill -TERM -P "$broker" || kill "$broker"; } 2>/dev/null || true
  wait
  broker=''
}

clean_up() {
  stop
  if [ -n "$loop" ]; then umount "$work/disk" || true; losetup --detach "$loop"; fi
  rm -rf "$work"
}
trap clean_up EXIT

port=$((20000 + RANDOM % 10000))

start() { # broker, data folder, and what to run it under
  case $1 in
    robustmq-edge)
      printf '[gateway]\ndata = "%s"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n[limits]\ninflight_count = 1000\n' \
        "$2" "$port" >"$work/conf"
      "${@:3}" "$edge" run --config "$work/conf" & ;;
    mosquitto)
      mkdir -p "$2"
      printf 'listener %s 127.0.0.1\nallow_anonymous true\nlog_type error\nmax_queued_messages 0\nuser root\npersistence true\npersistence_location %s/\nautosave_on_changes true\nautosave_interval 1\n' \
        "$port" "$2" >"$work/conf"
      mosquitto -c "$work/conf" 2>/dev/null & ;;
  esac
  broker=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$broker"; done
  "$mqload" ledger-sub-init --port "$port" >/dev/null
}

sectors() { awk '{ print $7 }' "/sys/block/${loop#/dev/}/stat"; }

device() { # broker, messages in flight, a second (0: no limit), count
  truncate -s 1G "$work/image"
  mkfs.ext4 -q -F "$work/image"
  loop=$(losetup --direct-io=on --find --show "$work/image")
  mkdir -p "$work/disk"
  mount "$loop" "$work/disk"
  start "$1" "$work/disk/data"
  sync -f "$work/disk"
  local before
  before=$(sectors)
  "$mqload" ledger-pub --port "$port" --log "$work/acked" --count "$4" --rate "$3" \
    --inflight "$2" --size "$size" --seconds 600 >/dev/null
  sync -f "$work/disk"
  awk -v name="$1" -v inflight="$2" -v rate="$3" -v sectors=$(($(sectors) - before)) -v size="$size" \
    -v acked="$(wc -l <"$work/acked")" 'BEGIN {
      printf "| %s | %s | %s | %d | %.2f |\n", name, inflight, rate ? rate : "any", acked,
        sectors * 512 / acked / size }'
  stop
  umount "$work/disk"
  losetup --detach "$loop"
  loop=''
  rm "$work/image" "$work/acked"
}

if [ "${1:-}" = device ]; then
  [ "$(id -u)" = 0 ] || { echo "skipped: loop devices need root"; exit 0; }
  printf '| broker | in flight | messages a second | messages | device bytes a payload byte |\n'
  printf '| --- | --- | --- | --- | --- |\n'
  device robustmq-edge 1 100 3000
  device robustmq-edge 100 0 200000
  device robustmq-edge 1000 0 200000
  command -v mosquitto >/dev/null || exit 0
  device mosquitto 1 100 3000
  device mosquitto 100 0 10000
  device mosquitto 1000 0 10000
  exit 0
fi

command -v strace >/dev/null || { echo "skipped: strace is not installed"; exit 0; }
start robustmq-edge "$work/data" strace -f -y -s 0 -o "$work/trace" \
  -e trace=pwrite64,pwritev,write,writev,fdatasync,fsync,ftruncate
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
