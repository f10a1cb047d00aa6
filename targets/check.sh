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
mkdir -p "$work/unit"
sed 's#/usr/bin/robustmq-edge#/bin/true#' targets/generic-linux/robustmq-edge.service >"$work/unit/robustmq-edge.service"
systemd-analyze verify "$work/unit/robustmq-edge.service" || fail "the unit is not valid"
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

# What OpenWrt's functions do, for the one file that is read here; with the cloud that it shows as a
# comment, but for the files of a real gateway.
sed "s/option id ''/option id 'shop-12'/; s/^# *//; s/# option mail/option mail/; /_file/d; s/mqtts:/mqtt:/; /192.168/d; /allow_anonymous/d" \
  targets/openwrt/files/etc/config/robustmq-edge >"$work/uci"
UCI=$work/uci sh -c '
  . targets/openwrt/files/usr/libexec/robustmq-edge-uci
  values() { awk -v kind="$1" -v section="$2" -v name="$3" "
    /^config/ { count[\$2]++; here = (\$2 == section || (\$2 count[\$2]) == section) }
    here && \$1 == kind && \$2 == name { gsub(/\x27/, \"\", \$3); print \$3 }
  " "$UCI"; }
  config_get() { eval "$1=\$(values option \"$2\" \"$3\")"; eval "[ -n \"\$$1\" ] || $1=\${4-}"; }
  config_get_bool() { config_get "$@"; }
  config_list_foreach() { for value in $(values list "$1" "$2"); do "$3" "$value"; done; }
  config_foreach() { for number in 1 2; do [ -z "$(values option "$2$number" address)$(values list "$2$number" endpoint)" ] || "$1" "$2$number"; done; }
  robustmq_edge_toml
' >"$work/uci.toml"
"$gateway" check --config "$work/uci.toml" >"$work/check" || fail "the UCI example can't be used: $(cat "$work/uci.toml")"
grep -q 'mqtt://mq.example.com' "$work/check" || fail "the UCI example has no cloud"
echo "UCI example: taken, with its cloud: $(grep -o 'worst case memory: .*' "$work/check")"
