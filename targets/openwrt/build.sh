#!/usr/bin/env bash
# targets/openwrt/build.sh BINARY ARCHITECTURE FOLDER
# Packs a static binary with its init script as an opkg package (.ipk) into FOLDER. ARCHITECTURE is
# what `opkg print-architecture` says on the router.
set -euo pipefail
cd "$(dirname "$0")"
repository=$(cd ../.. && pwd)
binary=$(cd "$repository" && realpath "${1:?binary}") architecture=${2:?architecture} folder=${3:?folder}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/control" "$work/data"
cp -r files/. "$work/data"
install -D -m 0755 "$binary" "$work/data/usr/bin/robustmq-edge"
echo /etc/config/robustmq-edge >"$work/control/conffiles"
cat >"$work/control/control" <<CONTROL
Package: robustmq-edge
Version: $version
Architecture: $architecture
Section: net
Installed-Size: $(du -sb "$work/data" | cut -f1)
Description: MQTT gateway with store-and-forward to RobustMQ
CONTROL
cat >"$work/control/postinst" <<'POSTINST'
#!/bin/sh
[ -n "$IPKG_INSTROOT" ] && exit 0
/etc/init.d/robustmq-edge enable
/etc/init.d/robustmq-edge restart
exit 0
POSTINST
cat >"$work/control/prerm" <<'PRERM'
#!/bin/sh
[ -n "$IPKG_INSTROOT" ] && exit 0
/etc/init.d/robustmq-edge stop
/etc/init.d/robustmq-edge disable
exit 0
PRERM
chmod 0755 "$work/control/postinst" "$work/control/prerm"
echo 2.0 >"$work/debian-binary"
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner -C "$1" -czf "$2" "${@:3}"; }
pack "$work/control" "$work/control.tar.gz" .
pack "$work/data" "$work/data.tar.gz" .
mkdir -p "$repository/$folder"
package=$folder/robustmq-edge_${version}_$architecture.ipk
pack "$work" "$repository/$package" ./debian-binary ./control.tar.gz ./data.tar.gz
echo "$package"
