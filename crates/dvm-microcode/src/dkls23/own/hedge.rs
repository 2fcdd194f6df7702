//! One-time values that do not repeat where the random source does.
//!
//! Source: hedged randomness, as RFC 9591 §4.1 does for nonces and this workspace's kernel for a level.
//! Always true: what a step draws comes from a stream keyed by 32 fresh bytes of the source, a secret of the pair's
//! set-up, the session id, and everything else that the step's outcome depends on. So two steps draw the same
//! only if they are the same step with the same inputs, whose outcome then is the same, byte for byte; and a
//! source that others know tells them nothing.
//! Why it must be: the sender sends γ = a − ã and one combination of ã and â. Of a second run with the same ã and â, and
//! other weights, follow ã, â and a: two products under one random source would give the key share away.
//! Constant time: the key and the stream are secret; all lengths are public.

use k256::Scalar;
use k256::elliptic_curve::Field;
use rand_core::{CryptoRng, CryptoRngCore, Error, RngCore, impls};
use zeroize::Zeroizing;

use super::oracle::{digest, tag};

/// The stream of one step.
pub(super) struct Hedged {
    key: Zeroizing<[u8; 32]>,
    blocks: u64,
}

impl Hedged {
    /// Starts the stream of the step that these fields name; the first of them is its word.
    pub(super) fn new(source: &mut dyn CryptoRngCore, step: &[&[u8]]) -> Self {
        let mut fresh = Zeroizing::new([0; 32]);
        source.fill_bytes(fresh.as_mut());
        let fields: Vec<&[u8]> = std::iter::once(&fresh[..]).chain(step.iter().copied()).collect();
        Self { key: Zeroizing::new(digest(tag::HEDGE, &fields)), blocks: 0 }
    }

    /// The next 32 bytes.
    pub(super) fn bytes(&mut self) -> [u8; 32] {
        let block = digest(tag::STREAM, &[self.key.as_ref(), &self.blocks.to_be_bytes()]);
        self.blocks = self.blocks.wrapping_add(1);
        block
    }

    /// The next scalar.
    pub(super) fn scalar(&mut self) -> Scalar {
        Scalar::random(self)
    }
}

impl RngCore for Hedged {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(32) {
            let block = Zeroizing::new(self.bytes());
            chunk.iter_mut().zip(block.iter()).for_each(|(to, from)| *to = *from);
        }
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

impl CryptoRng for Hedged {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    static_assertions::assert_not_impl_any!(Hedged: Clone, Copy, std::fmt::Debug);

    fn drawn(source: u64, step: &[&[u8]]) -> [u8; 100] {
        let mut bytes = [0; 100];
        Hedged::new(&mut rng(source), step).fill_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn one_source_in_two_steps_gives_unrelated_streams_and_in_one_step_the_same() {
        let base = drawn(1, &[b"send", b"sid", b"input"]);
        assert_eq!(drawn(1, &[b"send", b"sid", b"input"]), base);
        for other in [
            drawn(2, &[b"send", b"sid", b"input"]),
            drawn(1, &[b"receive", b"sid", b"input"]),
            drawn(1, &[b"send", b"sie", b"input"]),
            drawn(1, &[b"send", b"sid", b"inpuu"]),
            drawn(1, &[b"send", b"sidi", b"nput"]),
        ] {
            let shared = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(shared < 10, "{shared} of 100 bytes agree");
        }
    }

    #[test]
    fn a_stream_does_not_repeat_itself() {
        let bytes = drawn(1, &[b"send"]);
        assert_ne!(bytes[..32], bytes[32..64]);
    }
}
