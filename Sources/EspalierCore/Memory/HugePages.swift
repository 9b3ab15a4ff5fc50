import Glibc

/// What buffers of at least this size are aligned to, in bytes.
let hugePage = 2 << 20

/// Asks for huge pages: numbers that are read at random wait less for translations of addresses. Advice: where the system does not take it,
/// pages stay small.
func adviseHugePages(_ base: UnsafeMutableRawPointer, bytes: Int) {
  _ = madvise(base, bytes, MADV_HUGEPAGE)
}
