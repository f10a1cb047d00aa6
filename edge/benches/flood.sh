#!/usr/bin/env bash
# Floods a gateway with everything that a hostile network can send, while well-behaved clients go on:
# 20,000 connection attempts, 500 trickling CONNECTs and a subscriber that never reads, then
# subscribe bombs, then a thousand wills at once. Prints latency and memory of each part; ends with 1
# when memory passes limits.memory_bytes, when the latency of 99 of 100 messages passes five times
# its quiet value in the first part, or 50 ms in the others.
#
#   edge/benches/flood.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
ulimit -n "$(ulimit -Hn)"
FLOOD=full exec cargo test --release -p robustmq-edge --test program -- a_flood_stays --nocapture
