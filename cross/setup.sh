#!/usr/bin/env bash
# Installs what cross/build.sh needs on Debian 12, from Debian's and PyPI's
# registries only. Does nothing that is already done. Root is needed for apt.
# rustc-web/cargo-web/rust-web-src live in /usr and do not replace a rustup
# toolchain: ~/.cargo/bin stays first on PATH.
set -euo pipefail
ZIG=0.17.1 ZIGBUILD=0.24.0
venv=${CROSS_VENV:-$HOME/.cache/cross-venv}
fail() { echo "cross/setup.sh: $*" >&2; exit 1; }

if ! [ -e /usr/lib/rustlib/src/rust/library/Cargo.lock ] || ! [ -x /usr/bin/cargo ] ||
  ! command -v patch >/dev/null || ! command -v readelf >/dev/null ||
  ! python3 -c 'import ensurepip' 2>/dev/null; then
  packages=(rustc-web cargo-web rust-web-src binutils patch python3-venv)
  command -v apt-get >/dev/null || fail "this is not a Debian; there, ${packages[*]} would be installed"
  [ "$(id -u)" -eq 0 ] || fail "only root can install ${packages[*]}"
  apt-get update -qq
  apt-cache show rustc-web >/dev/null 2>&1 || fail "there is no rustc-web here; Debian 12 has it, with its security updates"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
# the compiler and the library source must be one version
v=$(/usr/bin/rustc -V | cut -d' ' -f2)
case $(readlink /usr/lib/rustlib/src/rust) in
  *rustc-"$v") ;;
  *) fail "rustc-web is $v but rust-web-src is not: apt-get install --only-upgrade both" ;;
esac
if [ "$("$venv"/bin/pip list --format=freeze 2>/dev/null | grep -cxE "ziglang==$ZIG|cargo-zigbuild==$ZIGBUILD")" != 2 ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check ziglang==$ZIG cargo-zigbuild==$ZIGBUILD
  ln -sf "$("$venv/bin/python" -c 'import ziglang; print(ziglang.__path__[0])')/zig" "$venv/bin/zig"
fi
echo "cross: rustc $v, zig $ZIG, cargo-zigbuild $ZIGBUILD"
