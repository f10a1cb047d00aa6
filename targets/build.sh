#!/usr/bin/env bash
# targets/build.sh FAMILY [TARGET]
# Makes the packages of a board family from what cross/build.sh made into target/packages, building
# first what is missing. TARGET is for industrial-gateway alone.
set -euo pipefail
cd "$(dirname "$0")/.."
families="generic-linux, raspberry-pi, riscv, openwrt, container, industrial-gateway"
family=${1:?family: $families}
packages=target/packages

binary() { # TARGET
  local path=${CARGO_TARGET_DIR:-target/cross}/$1/release/robustmq-edge
  [ -x "$path" ] || cross/build.sh "$1" >&2
  echo "$path"
}
debian() { # ARCHITECTURE TARGET FAMILY
  local path
  path=$(binary "$2")
  targets/generic-linux/debian/build.sh "$1" "$path" "targets/$3/profile.toml" "$packages"
}

case $family in
  generic-linux) debian amd64 x86_64-unknown-linux-musl "$family" ;;
  raspberry-pi)
    debian arm64 aarch64-unknown-linux-musl "$family"
    # ARMv6, so that it runs on every Pi.
    debian armhf arm-unknown-linux-musleabihf "$family"
    ;;
  riscv) debian riscv64 riscv64gc-unknown-linux-musl "$family" ;;
  openwrt) targets/openwrt/build.sh "$(binary armv7-unknown-linux-musleabihf)" arm_cortex-a7 "$packages" ;;
  container) targets/container/build.sh "$(binary x86_64-unknown-linux-musl)" amd64 "$packages" ;;
  industrial-gateway)
    target=${2:-aarch64-unknown-linux-musl}
    path=$(binary "$target")
    targets/industrial-gateway/build.sh "$path" "${target%%-*}" "$packages"
    ;;
  *) echo "no family $family: $families" >&2; exit 2 ;;
esac
