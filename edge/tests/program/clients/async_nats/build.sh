#!/usr/bin/env bash
# Builds the client that tells async-nats's part, into target/clients. It has some 160 crates below it,
# so the tests do without where it was not built.
set -euo pipefail
cd "$(dirname "$0")"
CARGO_TARGET_DIR=$(cd ../../../../.. && pwd)/target/clients/async-nats cargo build --locked
