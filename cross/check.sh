#!/usr/bin/env bash
# cross/check.sh TARGET BINARY
# Holds a binary to what its board expects: the right machine, one static file that may be loaded at any
# address, hard float where the target says so, no relocations in code, no stack or data that can be
# executed, and a size within cross/budgets. Prints what it found.
set -euo pipefail
budgets=$(dirname "$0")/budgets
target=${1:?target} binary=${2:?binary}

fail() { echo "$binary: $*" >&2; exit 1; }
header=$(LC_ALL=C readelf -h "$binary")
machine=$(sed -n 's/ *Machine: *//p' <<<"$header")
case $target in
  x86_64-*) want="Advanced Micro Devices X86-64" ;;
  aarch64-*) want=AArch64 ;;
  arm*) want=ARM ;;
  riscv64gc-*) want=RISC-V ;;
  *) fail "no machine is known for $target" ;;
esac
[ "$machine" = "$want" ] || fail "machine is $machine, expected $want"

dynamic=$(LC_ALL=C readelf -d "$binary")
segments=$(LC_ALL=C readelf -lW "$binary")
if grep -q NEEDED <<<"$dynamic" || grep -q INTERP <<<"$segments"; then
  fail "needs shared libraries"
fi
! grep -q TEXTREL <<<"$dynamic" || fail "has relocations in code"
grep -q 'Type: *DYN' <<<"$header" || fail "has a fixed address"
! grep -qE '(LOAD|GNU_STACK) .* RWE ' <<<"$segments" || fail "has pages that can be written and executed"
grep -q GNU_RELRO <<<"$segments" || fail "what was relocated can be written"

case $target in
  *eabihf) LC_ALL=C readelf -A "$binary" | grep -q 'Tag_ABI_VFP_args: VFP registers' || fail "not hard float" ;;
  riscv64gc-*) grep -q 'double-float ABI' <<<"$header" || fail "not hard float" ;;
esac

bytes=$(stat -c %s "$binary")
budget=$(awk -v target="$target" '$1 == target { print $2 }' "$budgets")
[ -n "$budget" ] || fail "no budget for $target in cross/budgets"
[ "$bytes" -le "$budget" ] || fail "$bytes bytes, $budget are allowed"
echo "$target: static-pie, $machine, $bytes of $budget bytes"
