#!/usr/bin/env bash
# What a backlog costs in memory, and in time at the start.
#
#   edge/benches/backlog.sh                       # a million messages of 256 B for an offline session
#   COUNT=100000 edge/benches/backlog.sh
#   edge/benches/backlog.sh large                 # 10 million of 1,000 B: takes 12 GB of disk
#   COUNT=4000000 edge/benches/backlog.sh large
#
# By itself: how much memory the backlog costs, and whether the session gets all of it, in order.
#
# With `large`: under `limits.memory_bytes` of 24 MB, resident memory from second to second while it
# fills and while it drains, as lowest and highest of each and of both, and what of it is data
# (`Pss_Anon`): the rest is pages of the program, which count from their first use on; the time from
# the start of the process to the first PUBACK after SIGKILL with nothing stored, with a tenth and with
# everything, the best and worst of five, once with the files in the page cache and once without; and
# at the end every acknowledged message is read by the session, in order.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ -n "${EDGE:-}" ] || cargo build --release --quiet -p robustmq-edge
cargo build --release --quiet --manifest-path edge/benches/mqload/Cargo.toml
edge=${EDGE:-$PWD/target/release/robustmq-edge}
mqload=$PWD/edge/benches/mqload/target/release/mqload
work=$(mktemp -d ${WORK:+-p "$WORK"})
broker=
trap '[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 10000))
printf '[gateway]\ndata = "%s/data"\n[[listener]]\naddress = "127.0.0.1:%s"\n[log]\nlevel = "error"\n' \
  "$work" "$port" >"$work/conf"

start() {
  "$edge" run --config "$work/conf" &
  broker=$!
  disown "$broker"
}

up() { until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$broker"; done; }

end() {
  kill -9 "$broker"
  while kill -0 "$broker" 2>/dev/null; do :; done
}

if [ "${1:-}" != large ]; then
  start
  up
  # Buffers and caches have their size after this.
  "$mqload" queue --qos 1 --port "$port" --count 20000 --size 256 --pid "$broker" --prefix warm >/dev/null
  "$mqload" queue --qos 1 --port "$port" --count "${COUNT:-1000000}" --size 256 --pid "$broker" --strict \
    --seconds 3600 --drain 3600
  exit
fi

count=${COUNT:-10000000} size=1000
printf '[limits]\nmemory_bytes = 25165824\nconnections = 32\nsessions = 32\nretained_count = 100\nretained_bytes = 65536\npacket_bytes = 65536\n' >>"$work/conf"
printf '[durability]\njournal_bytes = 4194304\nsegment_bytes = 67108864\n[retention.normal]\nmax_bytes = 21474836480\n' >>"$work/conf"

memory() { # in KiB: all that is resident, and what of it is data
  awk '/^Rss:/ { all = $2 } /^Pss_Anon:/ { data = $2 } END { print all, data }' "/proc/$broker/smaps_rollup"
}

range() { # file of samples, name: lowest and highest of them
  awk -v what="$2" '
    NR == 1 { low = $1; high = $1; least = $2; most = $2 }
    { low = $1 < low ? $1 : low; high = $1 > high ? $1 : high }
    { least = $2 < least ? $2 : least; most = $2 > most ? $2 : most }
    END {
      printf "%s: resident memory %.1f to %.1f MB, within %.1f; of it data %.1f to %.1f MB, within %.1f\n", what,
        low / 1024, high / 1024, (high - low) / 1024, least / 1024, most / 1024, (most - least) / 1024
    }' "$1"
}

watch() { # phase, command: resident memory while it runs
  local what=$1 pid
  shift
  "$@" >"$work/out" &
  pid=$!
  : >"$work/samples"
  while kill -0 "$pid" 2>/dev/null; do
    memory >>"$work/samples"
    sleep 1
  done
  wait "$pid" || { cat "$work/out"; exit 1; }
  range "$work/samples" "$what"
  cat "$work/samples" >>"$work/all"
}

publish() { # how many
  "$mqload" ledger-pub --port "$port" --log "$work/acked" --count "$1" --size "$size" --inflight 100 \
    --from "$next" --seconds 3600 --json
}

fill() { # phase, how many
  watch "$1" publish "$2"
  next=$(grep -o '"next":[0-9]*' "$work/out" | cut -d: -f2)
}

first_puback() { # whether the page cache is dropped
  local best=999999 worst=0 begun took
  for _ in 1 2 3 4 5; do
    end
    if [ "$1" = cold ]; then sync; echo 3 >/proc/sys/vm/drop_caches; cat "$edge" "$mqload" >/dev/null; fi
    begun=${EPOCHREALTIME/./}
    start
    publish 1 >"$work/out"
    took=$(((${EPOCHREALTIME/./} - begun) / 1000))
    next=$(grep -o '"next":[0-9]*' "$work/out" | cut -d: -f2)
    best=$((took < best ? took : best)) worst=$((took > worst ? took : worst))
  done
  printf 'start after SIGKILL with %s of files, page cache %s: first PUBACK after %d to %d ms\n' \
    "$(du -sh "$work/data" 2>/dev/null | cut -f1)" "$1" "$best" "$worst"
}

starts() {
  first_puback warm
  if [ -w /proc/sys/vm/drop_caches ]; then first_puback cold; fi
  # Buffers and caches have their size after this.
  publish 200000 >"$work/out"
  next=$(grep -o '"next":[0-9]*' "$work/out" | cut -d: -f2)
}

next=0
start
up
"$mqload" ledger-sub-init --port "$port" >/dev/null
starts
fill "a tenth" $((count / 10))
starts
fill "filling" $((count - count / 10))
starts
watch "draining $next messages" "$mqload" ledger-check --port "$port" --log "$work/acked" \
  --ordered --seconds 3600 --json
range "$work/all" "filling and draining"
grep -oE '"(acked|received|missing|duplicates|out_of_order)":[0-9]+' "$work/out" | tr -d '"' | tr '\n' ' '
printf '\nfiles after it: %s\n' "$(du -sh "$work/data" | cut -f1)"
