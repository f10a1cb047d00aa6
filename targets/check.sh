#!/usr/bin/env bash
# targets/check.sh
# Holds what is in this folder to what it promises: each profile is one that the gateway takes, the
# unit is valid, exposed at most 2.0 and allows the listed system calls, and the UCI example becomes a
# configuration that the gateway takes. Needs target/debug/robustmq-edge or $GATEWAY, and
# systemd-analyze. What a Debian package does on a system, targets/package.sh looks at.
set -euo pipefail
cd "$(dirname "$0")/.."
gateway=${GATEWAY:-target/debug/robustmq-edge}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "targets: $*" >&2; exit 1; }
[ -x "$gateway" ] || fail "there is no $gateway: cargo build -p robustmq-edge makes it"

for profile in targets/*/profile.toml; do
  "$gateway" check --config "$profile" >"$work/check" || fail "$profile can't be used"
  echo "$profile: $(grep -o 'worst case memory: .*' "$work/check")"
done

# systemd-analyze wants the program to be there.
unit=$work/unit/robustmq-edge.service
mkdir -p "$unit.d"
sed 's#/usr/bin/robustmq-edge#/bin/true#' targets/generic-linux/robustmq-edge.service >"$unit"
systemd-analyze verify "$unit" || fail "the unit is not valid"
sed 's#/usr/bin/robustmq-edge#/bin/true#' targets/industrial-gateway/data-partition.conf >"$unit.d/data-partition.conf"
systemd-analyze verify "$unit" || fail "the unit is not valid with a data partition"
systemd-analyze security --offline=true --threshold=20 targets/generic-linux/robustmq-edge.service >"$work/security" ||
  fail "the unit is exposed: $(tail -n 1 "$work/security")"
grep -o 'Overall.*service: [0-9.]*' "$work/security"

# The unit lets the program make each of its system calls. @default is always allowed.
expand() { # NAMES: the calls of groups, one a line
  local name
  # shellcheck disable=SC2046
  for name in "$@"; do
    case $name in
      @*) expand $(systemd-analyze syscall-filter "$name" | sed -n '2,$s/^ *\([^# ].*\)/\1/p') ;;
      *) echo "$name" ;;
    esac
  done
}
# shellcheck disable=SC2046
expand @default $(sed -n 's/^SystemCallFilter=//p' targets/generic-linux/robustmq-edge.service) | sort -u >"$work/allowed"
sed 's/#.*//' targets/system-calls | tr -s ' ' '\n' | sort -u | grep . >"$work/listed"
refused=$(comm -23 "$work/listed" "$work/allowed" | tr '\n' ' ')
[ -z "$refused" ] || fail "the unit refuses what targets/system-calls lists: $refused"
echo "system calls: $(wc -l <"$work/listed") listed, $(wc -l <"$work/allowed") allowed by the unit"

# The init script as it is, over what OpenWrt's functions do for the one file that is read here; with
# the cloud that it shows as a comment, but for the files of a real gateway.
sed "s/option id ''/option id 'shop-12'/; s/^# *//; s/# option mail/option mail/; /_file/d; /client_cert/d; s/mqtts:/mqtt:/; /192.168/d; /allow_anonymous/d" \
  targets/openwrt/files/etc/config/robustmq-edge >"$work/uci"
sed "s#^\. /usr#. targets/openwrt/files/usr#" targets/openwrt/files/etc/init.d/robustmq-edge >"$work/init"
openwrt() { # COMMAND: of the init script
  UCI=$work/uci PROGRAM=$gateway WORK=$work INSIDE=$1 sh -c '
    . "$WORK/init"
    PROG=$PROGRAM CONFIG=$WORK/run/uci.toml
    values() { awk -v kind="$1" -v section="$2" -v name="$3" "
      /^config/ { count[\$2]++; here = (\$2 == section || (\$2 count[\$2]) == section) }
      here && \$1 == kind && \$2 == name { gsub(/\x27/, \"\", \$3); print \$3 }
    " "$UCI"; }
    config_load() { [ "$1" = robustmq-edge ]; }
    config_get() { eval "$1=\$(values option \"$2\" \"$3\")"; eval "[ -n \"\$$1\" ] || $1=\${4-}"; }
    config_get_bool() { config_get "$@"; }
    config_list_foreach() { for value in $(values list "$1" "$2"); do "$3" "$value"; done; }
    config_foreach() { for number in 1 2; do [ -z "$(values option "$2$number" address)$(values list "$2$number" endpoint)" ] || "$1" "$2$number"; done; }
    logger() { echo "logger $*"; }
    for name in open_instance set_param close_instance send_signal; do eval "procd_$name() { echo $name \"\$@\"; }"; done
    "$INSIDE"
  '
}
openwrt start_service >"$work/procd" || fail "OpenWrt's service does not start: $(cat "$work/procd" "$work/run/uci.toml")"
grep -q "^set_param command $gateway run --config $work/run/uci.toml\$" "$work/procd" || fail "OpenWrt's service runs something else"
"$gateway" check --config "$work/run/uci.toml" >"$work/check"
grep -q 'mqtt://mq.example.com' "$work/check" || fail "the UCI example has no cloud"
openwrt reload_service | grep -q "^send_signal robustmq-edge \* HUP\$" || fail "OpenWrt's service does not reload"
sed -i "s/option memory_mb .*/option memory_mb '1'/" "$work/uci"
! openwrt start_service >"$work/procd" || fail "OpenWrt's service starts with a mistake"
grep -q '^logger .*limits.memory_bytes' "$work/procd" || fail "OpenWrt's log does not say what is wrong: $(cat "$work/procd")"
echo "UCI example: taken, with its cloud: $(grep -o 'worst case memory: .*' "$work/check")"

# An ipk is a tar of three files, and the second of these is what is installed.
package=$(targets/openwrt/build.sh "$gateway" test "$(realpath --relative-to=. "$work")")
mkdir "$work/ipk" && tar -xzf "$package" -C "$work/ipk"
[ "$(ls "$work/ipk" | tr '\n' ' ')" = "control.tar.gz data.tar.gz debian-binary " ] || fail "$package is no ipk"
[ "$(cat "$work/ipk/debian-binary")" = 2.0 ] || fail "$package has another version"
mkdir "$work/router" && tar -xzf "$work/ipk/data.tar.gz" -C "$work/router"
(cd targets/openwrt/files && find . -type f) | while read -r file; do
  cmp -s "targets/openwrt/files/$file" "$work/router/$file" || fail "$package has another $file"
done
[ -x "$work/router/etc/init.d/robustmq-edge" ] && [ -x "$work/router/usr/bin/robustmq-edge" ] || fail "$package has no program"
tar -xzOf "$work/ipk/control.tar.gz" ./control | grep -qx 'Architecture: test' || fail "$package has another architecture"
echo "OpenWrt: $(tar -tzf "$work/ipk/data.tar.gz" | grep -vc '/$') files"

# What the recipes install, by their own commands, is what a gateway needs.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
tree=$(targets/industrial-gateway/build.sh "$gateway" test "$work")
recipe=$tree/yocto/recipes-connectivity/robustmq-edge
bb=$recipe/robustmq-edge_$version.bb mk=$tree/buildroot/package/robustmq-edge/robustmq-edge.mk
[ -e "$bb" ] && grep -qx "ROBUSTMQ_EDGE_VERSION = $version" "$mk" || fail "a recipe has another version than $version"
grep -q "file://LICENSE;md5=$(md5sum <LICENSE | cut -d' ' -f1)\"" "$bb" || fail "the recipe knows another LICENSE"
grep -o 'file://[a-zA-Z.-]*' "$bb" | sort -u | while read -r file; do
  [ -e "$recipe/files/${file#file://}" ] || fail "the recipe has no $file"
done
{
  echo 'set -e; chown() { :; }'
  sed -n '/^do_install() {/,/^}/p' "$bb"
  echo do_install
} >"$work/do_install"
S=$recipe/files D=$work/yocto bindir=/usr/bin sysconfdir=/etc systemd_system_unitdir=/usr/lib/systemd/system \
  sh "$work/do_install" || fail "the recipe does not install"
cat >"$work/Makefile" <<'BUILDROOT'
define generic-package-of
ROBUSTMQ_EDGE_PKGDIR = $(1)
all:
	cd $$(ROBUSTMQ_EDGE_SITE) && $$(MAKE) -s -f $(MAKEFILE) installed
installed: .
	$$(ROBUSTMQ_EDGE_INSTALL_TARGET_CMDS)
	$$(ROBUSTMQ_EDGE_INSTALL_INIT)
endef
MAKEFILE := $(lastword $(MAKEFILE_LIST))
INSTALL = install
generic-package = $(call generic-package-of,$(dir $(lastword $(MAKEFILE_LIST))))
include $(PACKAGE)
BUILDROOT
for init in SYSTEMD SYSV; do
  make -s -f "$work/Makefile" PACKAGE="$mk" TARGET_DIR="$work/buildroot" \
    ROBUSTMQ_EDGE_INSTALL_INIT="\$(ROBUSTMQ_EDGE_INSTALL_INIT_$init)" || fail "the Buildroot package does not install"
done
for root in yocto buildroot; do
  for file in usr/bin/robustmq-edge etc/robustmq-edge/gateway.toml usr/lib/systemd/system/robustmq-edge.service \
    usr/lib/systemd/system/robustmq-edge.service.d/data-partition.conf; do
    [ -e "$work/$root/$file" ] || fail "$root installs no $file"
  done
  echo "$root: $(find "$work/$root" -type f | wc -l) files"
done
for script in $(grep -lr '^#!/bin/sh' targets); do
  sh -n "$script" || fail "$script can't be read"
done
