#!/usr/bin/env bash
# targets/generic-linux/debian/build.sh ARCHITECTURE BINARY PROFILE FOLDER
# Packs a static binary, the systemd unit and a profile as a Debian package into FOLDER. Needs
# dpkg-deb, and no root.
set -euo pipefail
cd "$(dirname "$0")/../../.."
architecture=${1:?architecture, for example arm64} binary=${2:?binary} profile=${3:?profile} folder=${4:?folder}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
install -D -m 0755 "$binary" "$root/usr/bin/robustmq-edge"
install -D -m 0644 targets/generic-linux/robustmq-edge.service "$root/lib/systemd/system/robustmq-edge.service"
install -D -m 0644 README.md "$root/usr/share/doc/robustmq-edge/README.md"
install -D -m 0644 LICENSE "$root/usr/share/doc/robustmq-edge/copyright"
install -D -m 0644 examples/gateway.toml "$root/usr/share/doc/robustmq-edge/gateway.toml.example"
install -D -m 0640 "$profile" "$root/etc/robustmq-edge/gateway.toml"

mkdir "$root/DEBIAN"
for script in postinst prerm postrm; do
  install -m 0755 "targets/generic-linux/debian/$script" "$root/DEBIAN/$script"
done
echo /etc/robustmq-edge/gateway.toml >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<CONTROL
Package: robustmq-edge
Version: $version
Architecture: $architecture
Maintainer: RobustMQ Edge <maintainers@robustmq-edge.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Section: net
Priority: optional
Description: MQTT gateway with store-and-forward to RobustMQ
 Devices on site talk to it in MQTT. It keeps what they say in an embedded log
 and replicates it to a RobustMQ cluster whenever there is a link. One static
 binary without dependencies; memory and disk have ceilings.
CONTROL
mkdir -p "$folder"
package=$folder/robustmq-edge_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
