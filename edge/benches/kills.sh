#!/usr/bin/env bash
# Kills the gateway with SIGKILL at random moments under mixed load: six publishers (QoS 1 and 2,
# retained, large, critical lane), a display that is always there, three that come and go, and
# mosquitto as the cloud where it is installed. One start in four is killed too. Then every
# acknowledged message is everywhere, in order, at QoS 2 once; the counts are printed.
#
#   edge/benches/kills.sh              # 1,000 kills, some five minutes
#   edge/benches/kills.sh 300          # fewer
#   CUT_SEED=2 edge/benches/kills.sh   # other moments
#
# What is compared: edge/tests/program/cuts.rs. A SIGKILL leaves the page cache alone; for what a
# power failure leaves: edge/benches/powercut.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --quiet -p robustmq-edge
GATEWAY=$PWD/target/release/robustmq-edge KILLS=${1:-1000} \
  cargo test --quiet -p robustmq-edge --test program lost_by_kills -- --nocapture
