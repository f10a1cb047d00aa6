#!/usr/bin/env bash
# targets/container/build.sh BINARY ARCHITECTURE FOLDER
# Packs a static binary as an image without anything else in it, as `docker load` and `podman load`
# take it. Needs tar and sha256sum, no container engine.
set -euo pipefail
cd "$(dirname "$0")"
repository=$(cd ../.. && pwd)
binary=$(cd "$repository" && realpath "${1:?binary}") architecture=${2:?architecture, for example arm64} folder=${3:?folder}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/etc/robustmq-edge" "$work/root/data" "$work/image"
install -m 0755 "$binary" "$work/root/robustmq-edge"
install -m 0644 profile.toml "$work/root/etc/robustmq-edge/gateway.toml"
pack() { tar --sort=name --mtime=@0 --owner=65532 --group=65532 --numeric-owner -C "$1" -cf "$2" "${@:3}"; }
pack "$work/root" "$work/image/layer.tar" .
layer=$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)
cat >"$work/image/config.json" <<CONFIG
{"architecture": "$architecture", "os": "linux",
 "config": {"User": "65532:65532", "WorkingDir": "/data", "Volumes": {"/data": {}},
  "ExposedPorts": {"1883/tcp": {}}, "StopSignal": "SIGTERM",
  "Entrypoint": ["/robustmq-edge"], "Cmd": ["run", "--config", "/etc/robustmq-edge/gateway.toml"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
CONFIG
cat >"$work/image/manifest.json" <<MANIFEST
[{"Config": "config.json", "RepoTags": ["robustmq-edge:$version"], "Layers": ["layer.tar"]}]
MANIFEST
mkdir -p "$repository/$folder"
image=$folder/robustmq-edge_${version}_$architecture.image.tar
pack "$work/image" "$repository/$image" .
echo "$image"
