#!/usr/bin/env bash
# cross/build.sh TARGET [cargo build arguments]
# Builds the gateway (or what the arguments say) for TARGET with zig as C compiler and linker, and
# holds a static one to cross/check.sh. Where the toolchain in use has TARGET's std (rustup target
# add TARGET) that is used, but for 32-bit musl, whose time would end in 2038; otherwise std is built
# from Debian's rust-web-src (see cross/setup.sh).
# The binary is target/cross/TARGET/release/robustmq-edge.
set -euo pipefail
t=${1:?target, for example aarch64-unknown-linux-musl}; shift
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- -p robustmq-edge --locked
venv=${CROSS_VENV:-$HOME/.cache/cross-venv}
base=${t%%.[0-9]*}          # aarch64-unknown-linux-gnu.2.28 names a glibc version

fail() { echo "$t: $*; cross/setup.sh installs it" >&2; exit 1; }
for program in zig cargo-zigbuild; do
  [ -x "$venv/bin/$program" ] || fail "there is no $venv/bin/$program"
done
args=() flags=()
has_std() { [ -d "$(rustc --print sysroot)/lib/rustlib/$base/lib" ]; }
time64() { case $base in arm*-musl*) ;; *) return 1 ;; esac }
if has_std && ! time64; then
  PATH=$PATH:$venv/bin
else
  # Debian's compiler, cargo and library source are one version; a rustup
  # toolchain of another version cannot compile that library.
  PATH=/usr/bin:$venv/bin:$PATH
  unset RUSTUP_TOOLCHAIN RUSTC CARGO
  [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ] || fail "there is no source of std"
  export RUSTC_BOOTSTRAP=1
  args+=(-Z build-std=std,panic_abort -Z build-std-features=panic-unwind,optimize_for_size)
  # the source package has no crt1.o: let zig supply the C start files
  case $base in *-musl*) flags+=(-C link-self-contained=no) ;; esac
fi
# not the default on riscv64 musl; changes nothing on the others
case $base in *-musl*) flags+=(-C target-feature=+crt-static -C relocation-model=pie -C link-arg=-pie -C force-unwind-tables=no) ;; esac
# Thumb instructions: a third less code, on all of ARMv7 and with its floating point
case $base in armv7-*) flags+=(-C target-feature=+thumb-mode) ;; esac
export PATH CARGO_ZIGBUILD_ZIG_PATH=$venv/bin/zig
v=CARGO_TARGET_$(printf %s "$base" | tr a-z- A-Z_)_RUSTFLAGS
export "$v=${flags[*]} ${!v-}"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/cross}
# What it links with stands in scripts that cargo-zigbuild writes: not into a cache that others share.
case $base in
  *-musl*)
    export CARGO_ZIGBUILD_ZIG_PATH=$PWD/cross/zig
    CARGO_ZIGBUILD_CACHE_DIR=$(realpath -m "$CARGO_TARGET_DIR")
    export CARGO_ZIGBUILD_CACHE_DIR
    ;;
esac
# 64-bit time on 32-bit musl; only a std built here can have it. Checked below, since a later libc
# will want it as --cfg=libc_unstable_musl_v1_2 in RUSTFLAGS. std itself is not ready for it.
export RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
if time64; then
  library=$(realpath -m "$CARGO_TARGET_DIR")/library-$(rustc -V | cut -d' ' -f2)
  if ! cmp -s cross/futex.patch "$library/futex.patch"; then
    rm -rf "$library"
    cp -r "$(rustc --print sysroot)/lib/rustlib/src/rust/library/" "$library"
    patch -s -d "$library" -p1 <cross/futex.patch
    cp cross/futex.patch "$library"
  fi
  export __CARGO_TESTS_ONLY_SRC_ROOT=$library # the only name that cargo has for a std from elsewhere
fi
# Cargo does not look at what cross/zig links with: programs that were linked with something else are
# taken away, so that it links them anew, and only that.
linked=$CARGO_TARGET_DIR/$base/linked-with
if ! cat cross/zig cross/names.sed cross/order | cmp -s - "$linked"; then
  rm -f "$linked" "$CARGO_TARGET_DIR/$base"/release/{deps/robustmq_edge,examples/*}-*
fi
cargo-zigbuild zigbuild --release --target "$t" "${args[@]}" "$@"
cat cross/zig cross/names.sed cross/order >"$linked"
if time64; then
  for output in "$CARGO_TARGET_DIR/$base"/release/build/libc-*/output; do
    grep -q '^cargo:rustc-cfg=musl32_time64$' "$output" ||
      { echo "$t: time ends in 2038: $output" >&2; exit 1; }
  done
fi
case $base in
  *-musl*) cross/check.sh "$base" "$CARGO_TARGET_DIR/$base/release/robustmq-edge" ;;
esac
