#!/usr/bin/env bash
# targets/industrial-gateway/build.sh BINARY ARCHITECTURE FOLDER
# Gathers the Yocto recipe and the Buildroot package, each with the binary and everything else that it
# installs, into a folder in FOLDER: what a layer and an external tree take as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:?binary} architecture=${2:?architecture, for example aarch64} folder=${3:?folder}
here=targets/industrial-gateway
out=$folder/industrial-gateway_$architecture
yocto=$out/yocto/recipes-connectivity/robustmq-edge buildroot=$out/buildroot/package/robustmq-edge

rm -rf "$out"
mkdir -p "$yocto/files" "$buildroot/files"
cp "$here"/yocto/*.bb "$yocto"
cp "$here/buildroot/Config.in" "$here/buildroot/robustmq-edge.mk" "$buildroot"
cp "$here/buildroot/S90robustmq-edge" "$buildroot/files"
for files in "$yocto/files" "$buildroot/files"; do
  install -m 0755 "$binary" "$files/robustmq-edge"
  install -m 0644 "$here/profile.toml" "$files/gateway.toml"
  install -m 0644 LICENSE targets/generic-linux/robustmq-edge.service "$here/data-partition.conf" "$files"
done
echo "$out"
