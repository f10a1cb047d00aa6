#!/usr/bin/env bash
# Runs fuzz targets, each for some seconds on what earlier runs found, on the packets of
# edge/wire/tests/mqtt-packets.json, and the log's on scripts by chance. Ends with an error if an
# input breaks a target: says what broke, and prints the input, which is also below
# edge/fuzz/artifacts.
#
#   edge/benches/fuzz.sh                         # all targets, 30 minutes each
#   edge/benches/fuzz.sh 60                      # 60 seconds each
#   edge/benches/fuzz.sh 600 connection topic    # these
#   JOBS=2 SEED=1 edge/benches/fuzz.sh 60        # two at a time, the same walk again
#   SCRIPTS=1000 edge/benches/fuzz.sh 0 log      # no walk: what is there, and so many scripts
#
# A walk is the same again only where it was built in a folder of the same name; scripts are the
# same everywhere.
#
# Needs cargo-fuzz: cargo install cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${1:-1800}
[ $# -eq 0 ] || shift
# The toolchain is a stable one, which has what the sanitizer needs but hides it.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --fuzz-dir . >&2
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir .)

# Each packet as a file, in its version; for the targets that choose a version, behind that choice.
seed() { # target, prefix, version (4, 5 or any)
  mkdir -p "corpus/$1"
  local number=0 version bytes
  while read -r version bytes; do
    number=$((number + 1))
    [[ $3 != "$version" && $3 != any ]] && continue
    # shellcheck disable=SC2059
    printf "$2$(sed 's/../\\x&/g' <<<"$bytes")" >"corpus/$1/packet-$number"
  done < <(sed -nE 's/.*"version": ([45]).*"bytes": "([0-9a-f]*)".*/\1 \2/p' ../wire/tests/mqtt-packets.json)
}
seed decode_v311 '' 4
seed decode_v5 '' 5
seed round_trip '\x01' 4
seed round_trip '\x02' 5
seed connection '' any

# Any bytes are a script: long ones from the beginning, which libFuzzer would grow for an hour.
mkdir -p corpus/log corpus/log_bytes
for ((number = 1; number <= ${SCRIPTS:-24}; number++)); do
  RANDOM=$number
  for ((byte = 0; byte < 50 * (1 + number % 24); byte++)); do printf '\\%03o' $((RANDOM % 256)); done |
    xargs -0 printf >"corpus/log/script-$number"
  cp "corpus/log/script-$number" corpus/log_bytes
done

fuzz() { # target
  local found=artifacts/$1 before
  mkdir -p "corpus/$1" "$found"
  before=$(mktemp)
  # Scripts of many steps find what short ones do not. Nothing takes much memory at once.
  local options=(-max_len=4096 -len_control=10 -timeout=20 -malloc_limit_mb=64)
  # Handles of damaged files are never closed, which is known (edge/src/log/database.rs).
  # The first asks for no search after each input, the second for none at the end.
  [ "$1" != log ] || { options+=(-detect_leaks=0) && export ASAN_OPTIONS=detect_leaks=0; }
  if [ "$seconds" -eq 0 ]; then options+=(-runs=0); else options+=(-max_total_time="$seconds"); fi
  cargo fuzz run --fuzz-dir . "$1" -- "${options[@]}" -seed="$walk" -print_final_stats=1 2>&1 |
    sed -unE "s/^/$1: /; /panicked/ { p; n; s/^/$1: /p; b }
      /assertion|left:|right:|ERROR|SUMMARY|artifact|stat::number|: Done|: #[0-9]+\s+(pulse|DONE)/ p" &&
    rm "$before" && return
  find "$found" -type f -newer "$before" | while read -r input; do
    echo "$1: base64 -d <<<$(base64 -w0 "$input") >input"
    echo "$1: RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir edge/fuzz $1 input"
  done
  rm "$before"
  return 1
}
export -f fuzz
export seconds walk=${SEED:-0}
printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-1}" -I '{}' bash -euo pipefail -c 'fuzz {}'
