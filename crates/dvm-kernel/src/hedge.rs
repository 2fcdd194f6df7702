//! Randomness for one level, which does not repeat where its source does.
//!
//! Source: hedged randomness, as RFC 9591 §4.1 does by hashing the share into a nonce. That alone is not enough: a source
//! that gives the same bytes twice (a machine that was copied, a snapshot that was resumed) would give one nonce to two
//! messages, and three shares under one pair of nonces are the key share.
//! Always true: what a level draws comes from a stream that is named by the run, the level and this kernel's number of
//! statements, and keyed by fresh bytes of the source and the kernel's own secret. So two levels of different names
//! draw unrelated bytes whatever the source does, and a source that others know tells them nothing.
//! Not here: a live copy of this process in one and the same run. Two statements with one `vault_seq` give it away.

use dvm_core::B32;
use dvm_core::digest::{Domain, Tagged};
use ed25519_dalek::SigningKey;
use rand_core::{CryptoRng, CryptoRngCore, Error, RngCore, impls};
use zeroize::Zeroizing;

/// The stream of one level.
pub(crate) struct Hedged {
    key: Zeroizing<[u8; 32]>,
    blocks: u64,
}

impl Hedged {
    /// Starts the stream of a level of a run.
    pub(crate) fn new(
        source: &mut dyn CryptoRngCore,
        own: &SigningKey,
        (execution_id, level, vault_seq): (&B32, u16, u64),
    ) -> Self {
        let mut fresh = Zeroizing::new([0; 32]);
        source.fill_bytes(fresh.as_mut());
        let key = Tagged::new(Domain::Hedge)
            .part(fresh.as_ref())
            .part(own.as_bytes())
            .part(&execution_id.0)
            .number(level.into())
            .number(vault_seq);
        Self { key: Zeroizing::new(key.finish().0), blocks: 0 }
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
            let block = Tagged::new(Domain::Hedge).part(self.key.as_ref()).number(self.blocks);
            let block = Zeroizing::new(block.finish().0);
            self.blocks = self.blocks.wrapping_add(1);
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
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    static_assertions::assert_not_impl_any!(Hedged: Clone, Copy, std::fmt::Debug, serde::Serialize);

    fn drawn(source: u64, own: u8, name: (u8, u16, u64), bytes: usize) -> Vec<u8> {
        let mut source = ChaCha20Rng::seed_from_u64(source);
        let own = SigningKey::from_bytes(&[own; 32]);
        let run = B32([name.0; 32]);
        let mut hedged = Hedged::new(&mut source, &own, (&run, name.1, name.2));
        let mut drawn = vec![0; bytes];
        hedged.fill_bytes(&mut drawn);
        drawn
    }

    #[test]
    fn levels_of_other_names_draw_other_bytes_from_a_source_that_repeats_itself() {
        let one = drawn(1, 1, (1, 1, 1), 32);
        assert_eq!(one, drawn(1, 1, (1, 1, 1), 32));
        let others = [
            drawn(1, 1, (2, 1, 1), 32),
            drawn(1, 1, (1, 2, 1), 32),
            drawn(1, 1, (1, 1, 2), 32),
            drawn(1, 2, (1, 1, 1), 32),
            drawn(2, 1, (1, 1, 1), 32),
        ];
        assert!(others.iter().all(|other| *other != one));
    }

    #[test]
    fn no_block_of_a_stream_comes_twice() {
        let drawn = drawn(1, 1, (1, 1, 1), 32 * 100 + 5);
        let blocks: std::collections::BTreeSet<&[u8]> = drawn.chunks(32).collect();
        assert_eq!(blocks.len(), 101);
    }
}
