//! How much memory one input may take.
//!
//! The count is of the whole process: only one target runs at a time.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What decoding may take beside its input: serde reserves up to 1 MiB for a list on trust, and lists
/// nest a few deep.
pub const FIXED: usize = 8 << 20;
/// What each byte of input may cost: a one-byte CBOR item can become a struct of some hundred bytes.
pub const PER_BYTE: usize = 512;

/// Runs `work` and holds its peak against a bound made of the input's length.
pub fn bounded<T>(input: usize, work: impl FnOnce() -> T) -> T {
    within(FIXED + PER_BYTE * input, work)
}

/// Runs `work` and holds its peak against this many bytes.
pub fn within<T>(allowed: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let made = work();
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(taken <= allowed, "took {taken} bytes of memory; {allowed} are allowed");
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_above_the_bound_is_a_finding_and_below_it_is_none() {
        let take = |bytes: usize| std::hint::black_box(vec![1_u8; bytes]).len();
        assert_eq!(within(1 << 24, || take(1 << 20)), 1 << 20);
        assert!(std::panic::catch_unwind(|| within(1 << 20, || take(1 << 24))).is_err());
    }
}
