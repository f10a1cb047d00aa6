#!/usr/bin/env bash
# targets/package.sh DEBIAN_ROOT PACKAGE...
# The life of each Debian package in a system of its own: a copy of DEBIAN_ROOT, which
#   debootstrap --variant=minbase --include=systemd bookworm DEBIAN_ROOT
# makes. One for this machine is installed, killed, upgraded, removed and purged under a booted
# systemd: the service is ready, confined by its unit and by itself, comes back, and keeps
# configuration and data; its removal leaves no process, its purge nothing. One for another machine
# goes the same way without being started, but that its program has to take its configuration under
# qemu; so does one for this machine where no container can boot, which is said. Needs root,
# systemd-nspawn (systemd-container) and, for foreign packages, qemu-user-static.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:?a root made by debootstrap} && shift
[ $# -gt 0 ] || { echo "which packages? targets/build.sh makes them" >&2; exit 2; }
. cross/emulator.bash

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fail() { echo "$package: $*" >&2; exit 1; }

# What happens in the booted system, by its own shell.
write_life() {
  cat >"$root/life" <<'LIFE'
#!/bin/bash
set -euo pipefail
exec >/said 2>&1
fail() { log; tail -n 20 /log; echo "$*"; exit 1; }
finish() { [ $? -ne 0 ] || touch /passed; systemctl poweroff || true; }
trap finish EXIT
log() { journalctl --sync && journalctl -u robustmq-edge --no-pager >/log; }
process() { systemctl show -P MainPID robustmq-edge; }
processes() { grep -lx robustmq-edge /proc/[0-9]*/comm 2>/dev/null || true; }
fact() { robustmq-edge status --config /etc/robustmq-edge/gateway.toml | sed -n "s/^$1 //p"; }
wait_for_service() {
  for _ in $(seq 300); do
    if systemctl is-active --quiet robustmq-edge && [ -n "$(fact retained)" ]; then return; fi
    sleep 0.1
  done
  fail "the service does not run"
}

dpkg -i /package.deb
wait_for_service
status=$(cat "/proc/$(process)/status")
grep -qP 'NoNewPrivs:\t1' <<<"$status" || fail "may gain privileges"
grep -qP 'CapBnd:\t0+$' <<<"$status" || fail "has capabilities"
grep -qP 'Seccomp:\t2' <<<"$status" || fail "may make any system call"
! grep -qP 'Uid:\t0' <<<"$status" || fail "is root"
log
grep 'self-protection: no new privileges, capabilities dropped' /log || fail "does not protect itself"

# A retained message, acknowledged: CONNECT, PUBLISH at QoS 1, and the four bytes each of their answers.
exec 3<>/dev/tcp/127.0.0.1/1883
printf '\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04life' >&3
printf '\x33\x0a\0\x04kept\0\x0121' >&3
[ "$(head -c 8 <&3 | od -An -tx1 | tr -d ' \n')" = 2002000040020001 ] || fail "does not acknowledge"
exec 3>&-
echo '# ours' >>/etc/robustmq-edge/gateway.toml
first=$(process)
kill -9 "$first"
for _ in $(seq 300); do [ "$(process)" -eq 0 ] || [ "$(process)" -eq "$first" ] || break; sleep 0.1; done
wait_for_service
[ "$(fact retained)" = 1 ] || fail "a kill took what was acknowledged"
systemctl reload robustmq-edge
for _ in $(seq 300); do log; ! grep -q 'reloaded: ' /log || break; sleep 0.1; done
grep -q 'reloaded: ' /log || fail "does not reload"

second=$(process)
dpkg -i --force-confold /package.deb
wait_for_service
[ "$(process)" != "$second" ] || fail "an upgrade did not start it again"
[ "$(fact retained)" = 1 ] || fail "an upgrade took the data"
grep -q '^# ours' /etc/robustmq-edge/gateway.toml || fail "an upgrade took the configuration"

dpkg -r robustmq-edge
[ -z "$(processes)" ] || fail "a removal left processes: $(processes)"
[ ! -e /usr/bin/robustmq-edge ] || fail "a removal left the program"
[ -e /etc/robustmq-edge/gateway.toml ] || fail "a removal took the configuration"
dpkg -i /package.deb
wait_for_service
[ "$(fact retained)" = 1 ] || fail "a removal took the data"
echo '[mistake]' >>/etc/robustmq-edge/gateway.toml
dpkg -i --force-confold /package.deb 2>&1 | grep 'does not start yet' || fail "a mistake is not told"
dpkg -P robustmq-edge
[ -z "$(processes)" ] || fail "a purge left processes: $(processes)"
log
! grep -E ' WARN | ERROR |mode is different' /log || fail "complained"
LIFE
  chmod +x "$root/life"
  printf '[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/life\n' >"$root/etc/systemd/system/life.service"
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -s ../life.service "$root/etc/systemd/system/multi-user.target.wants/life.service"
}

live() {
  write_life
  # Landlock's are not among the system calls that a container gets by itself.
  timeout 300 systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --private-network \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    </dev/null >"$root/console" 2>&1 || true
  if [ ! -e "$root/said" ]; then
    echo "$package: not started, no system boots in a container here: $(tail -n 3 "$root/console")"
    unpack
    visit "$(uname -m)-unknown-linux-musl"
    return
  fi
  [ -e "$root/passed" ] || fail "$(tail -n 40 "$root/said" 2>/dev/null || tail -n 40 "$root/console")"
  grep -o 'self-protection: .*' "$root/said" | tail -n 1
}

inside() { chroot "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
visit() { # TARGET: what its program was built for
  local file=etc/robustmq-edge/gateway.toml
  emulator "$1"
  inside dpkg --add-architecture "$architecture"
  inside dpkg -i /package.deb >/dev/null
  "${emulator[@]}" "$root/usr/bin/robustmq-edge" check --config "$root/$file" >/dev/null || fail "refuses its own configuration"
  inside getent passwd robustmq-edge >/dev/null || fail "there is no user"
  [ "$(stat -c %a "$root/$file")" = 640 ] || fail "everybody may read the configuration"
  echo '# ours' >>"$root/$file"
  mkdir -p "$root/var/lib/robustmq-edge" && touch "$root/var/lib/robustmq-edge/kept"
  inside dpkg -i --force-confold /package.deb >/dev/null
  grep -q '^# ours' "$root/$file" || fail "an upgrade took the configuration"
  inside dpkg -r robustmq-edge >/dev/null 2>&1
  [ -e "$root/var/lib/robustmq-edge/kept" ] || fail "a removal took the data"
  [ -e "$root/$file" ] || fail "a removal took the configuration"
  [ ! -e "$root/usr/bin/robustmq-edge" ] || fail "a removal left the program"
  inside dpkg -P robustmq-edge >/dev/null 2>&1
}

unpack() { rm -rf "$root" && cp -a "$base" "$root" && cp "$package" "$root/package.deb"; }

for package in "$@"; do
  unpack
  architecture=$(dpkg-deb -f "$package" Architecture)
  case $architecture in
    "$(dpkg --print-architecture)") live ;;
    arm64) visit aarch64-unknown-linux-musl ;;
    armhf) visit arm-unknown-linux-musleabihf ;;
    riscv64) visit riscv64gc-unknown-linux-musl ;;
    amd64) visit x86_64-unknown-linux-musl ;;
    *) fail "no target is known for $architecture" ;;
  esac
  for path in /var/lib/robustmq-edge /var/lib/private/robustmq-edge /etc/robustmq-edge /usr/bin/robustmq-edge \
    /lib/systemd/system/robustmq-edge.service /usr/share/doc/robustmq-edge; do
    [ ! -e "$root$path" ] || fail "a purge left $path"
  done
  ! grep -q '^robustmq-edge:' "$root/etc/passwd" || fail "a purge left the user"
  echo "$package: installed, upgraded, removed, purged"
done
