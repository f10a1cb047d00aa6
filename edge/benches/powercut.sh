#!/usr/bin/env bash
# Lets the power of a real file system fail at random moments under the load of kills.sh. Needs root,
# loop devices, e2fsprogs and python3; says "skipped" where something is missing.
#
#   sudo edge/benches/powercut.sh              # 300 failures, some five minutes
#   sudo CUT_SEED=2 edge/benches/powercut.sh 50
#
# The data folder is on ext4 in an image, which is a file of a second ext4, which plays the drive. One
# time in two the inner file system is shut down without a flush of its journal: the page cache is
# lost. The other times the outer one is: what the drive was handed since its last flush is lost
# too, and of a flush in progress any part. Then both are mounted again, and the gateway starts. One
# start in four meets the next failure. The publishers' books are outside. So it is shown that
# acknowledgements need nothing but what fdatasync and directory syncs promise. Not shown: a drive
# that confirms a flush it has not made, and file systems other than ext4.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --quiet -p robustmq-edge
GATEWAY=$PWD/target/release/robustmq-edge POWER_FAILURES=${1:-300} \
  cargo test --quiet -p robustmq-edge --test program lost_by_power_failures -- --nocapture
