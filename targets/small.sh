#!/usr/bin/env bash
# targets/small.sh [TARGET]
# The smallest board in full: with the profile for 64 MB, held to 32 MB (a control group where this
# user may make one), the static binary that cross/build.sh made for this machine stands the flood of
# edge/benches/flood.sh and is killed; everything that it acknowledged has to be there.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-$(uname -m)-unknown-linux-musl}
GATEWAY=$(realpath "${CARGO_TARGET_DIR:-target/cross}/$target/release/robustmq-edge")
[ -x "$GATEWAY" ] || { echo "there is no $GATEWAY: cross/build.sh $target makes it" >&2; exit 1; }
export GATEWAY
ulimit -n "$(ulimit -Hn)"
FLOOD=full exec cargo test -p robustmq-edge --test program -- the_smallest_board --nocapture
