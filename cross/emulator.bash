# emulator TARGET: puts what runs a binary of TARGET on this machine into the array `emulator`: nothing
# where it is the machine's own, or else qemu-user, with which `-strace` may follow.
emulator() {
  local qemu cpu=()
  case $1 in
    "$(uname -m)"-*) emulator=(); return ;;
    aarch64-*) qemu=qemu-aarch64 ;;
    armv7-*) qemu=qemu-arm cpu=(-cpu cortex-a7) ;;
    arm-*) qemu=qemu-arm cpu=(-cpu arm1176) ;; # a Raspberry Pi Zero
    riscv64gc-*) qemu=qemu-riscv64 ;;
    *) echo "no emulator is known for $1" >&2; return 1 ;;
  esac
  qemu=$(command -v "$qemu-static" || command -v "$qemu") ||
    { echo "$qemu is not installed: qemu-user-static" >&2; return 1; }
  emulator=("$qemu" "${cpu[@]}")

  # Where a 32-bit program shrinks a mapping by mremap, qemu 7.2 also takes what lies behind the mapping.
  # Without mremap the program's allocator unmaps the end instead.
  case $1 in
    arm*)
      command -v strace >/dev/null || { echo "strace is not installed" >&2; return 1; }
      emulator=(strace -D -f -qq --seccomp-bpf -e trace=mremap -e inject=mremap:error=ENOSYS
        -o /dev/null "${emulator[@]}")
      ;;
  esac
}
