//! The one source of chance in a seed.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Chance, from a seed and a name; streams of other names are independent of it.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of this name.
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let bytes = dvm_core::digest::sha256(format!("{stream}/{seed}").as_bytes()).0;
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// A number below `n`; 0 if that is none.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // The bias of a 64-bit remainder is far below anything that a campaign could see.
        self.0.next_u64().checked_rem(n).unwrap_or(0)
    }

    /// An index below `n`.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from.saturating_add(self.below(to.saturating_sub(from).saturating_add(1)))
    }

    /// True so many times in a thousand.
    pub(crate) fn permille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.index(of.len())).copied()
    }

    /// Fresh bytes.
    pub(crate) fn bytes32(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.fill_bytes(&mut out);
        out
    }
}
