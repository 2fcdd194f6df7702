//! A cheat: a lying peer that alters what it says within a round, the sealed words as well, and stands by it.
//!
//! Source: what a signer can do that follows the protocol in everything but the words of its rounds. Its node and its
//! kernel below know nothing of it: where its frames leave, a word is opened with the recipient's key (the simulator
//! drew that, too), changed, sealed and signed anew; and the views of later levels are those of whoever was lied to.
//!
//! Always true: one recipient hears one story of a level, however often it asks; so only what was said can give a cheat
//! away, and never that it was said twice.

use std::collections::BTreeMap;

use dvm_core::digest::{Domain, Tagged};
use dvm_core::frame::{self, Carried, Envelope, Outgoing};
use dvm_core::{B32, Bytes, Link, NodeId};
use dvm_kernel::seal::{SealingKey, seal};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::cast;
use crate::dice::Dice;
use crate::liar::Liar;

/// The generator of secp256k1: a point that is nobody's.
const POINT: [u8; 33] = [
    2, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 7,
    2, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];
/// The short fields of a word are in its first and its last bytes.
const EDGE: usize = 160;
/// The epoch of every key here.
const EPOCH: u64 = 1;

/// What a cheat knows of the others.
pub(crate) struct Secrets {
    pub cluster: Link,
    /// Their kernels' sealing keys, by node.
    pub sealing: Vec<[u8; 32]>,
}

/// What was said so far, and what the cheat made of it.
#[derive(Default)]
pub(crate) struct Told {
    roots: BTreeMap<(B32, u16), BTreeMap<NodeId, B32>>,
    /// By run, level and recipient; nothing where it told the truth.
    told: BTreeMap<(B32, u16, NodeId), Option<Envelope>>,
}

impl Told {
    /// Anybody's frame, as its own kernel made it.
    pub(crate) fn hear(&mut self, envelope: &Envelope) {
        let header = &envelope.header.body;
        let level = self.roots.entry((header.execution_id, header.level)).or_default();
        level.insert(header.from.clone(), header.out_root);
    }

    /// The view of the level before that the recipient of this frame has, if it is not the sender's.
    fn view_of(&self, envelope: &Envelope) -> Option<B32> {
        let header = &envelope.header.body;
        let before = header.level.checked_sub(1)?;
        let lie = self.told.get(&(header.execution_id, before, envelope.to.clone()))?.as_ref()?;
        let mut roots = self.roots.get(&(header.execution_id, before))?.clone();
        roots.insert(header.from.clone(), lie.header.body.out_root);
        Some(frame::view(&header.execution_id, before, &roots))
    }
}

/// A word that is another now.
struct Altered {
    sealed: bool,
    at: usize,
    bytes: Bytes,
}

impl Liar {
    /// What it says instead of this frame, and whether a word in it is another; none if it says just this.
    pub(crate) fn cheat(&mut self, envelope: &Envelope) -> Option<(Envelope, bool)> {
        let header = &envelope.header.body;
        let slot = (header.execution_id, header.level, envelope.to.clone());
        if let Some(told) = self.told.told.get(&slot) {
            return told.clone().map(|told| (told, false));
        }
        let view = self.told.view_of(envelope);
        let altered = if self.lies() { self.altered(envelope) } else { None };
        if altered.is_none() && view.is_none() {
            self.told.told.insert(slot, None);
            return None;
        }
        let lied = altered.is_some();
        let edit = |out: &mut Outgoing| {
            let Some(Altered { sealed, at, bytes }) = altered else { return };
            let own = out.private.values_mut().next().filter(|_| sealed);
            if let Some(place) = own.unwrap_or(&mut out.broadcast).get_mut(at) {
                place.1 = bytes;
            }
        };
        let seen = |header: &mut frame::FrameHeader| {
            header.prev_view = view.unwrap_or(header.prev_view);
        };
        let told = self.signed_anew(envelope, edit, seen);
        self.told.told.insert(slot, Some(told.clone()));
        Some((told, lied))
    }

    /// One word of a frame, changed somewhere.
    fn altered(&mut self, envelope: &Envelope) -> Option<Altered> {
        let (all, own) = (&envelope.broadcast, &envelope.private);
        let place = self.dice.index(all.payloads.len() + own.payloads.len());
        let (sealed, at) = match place.checked_sub(all.payloads.len()) {
            Some(at) => (true, at),
            None => (false, place),
        };
        let said = if sealed { own } else { all }.payloads.get(at)?;
        let word = if sealed { self.opened(envelope, (own, at), said)? } else { said.0.clone() };
        let changed = change(word.clone(), &mut self.dice);
        if changed == word {
            return None;
        }
        let bytes = if sealed { self.sealed(envelope, (own, at), &changed)? } else { changed };
        Some(Altered { sealed, at, bytes: Bytes(bytes) })
    }

    /// The recipient's sealing key, what a word to it is bound to, and the word's step.
    fn seal_of(
        &self,
        envelope: &Envelope,
        (carried, at): (&Carried, usize),
    ) -> Option<(SealingKey, [u8; 32], [u8; 2])> {
        let header = &envelope.header.body;
        let info = Tagged::new(Domain::Seal)
            .part(&self.secrets.cluster.to_bytes())
            .number(EPOCH)
            .part(&header.execution_id.0)
            .number(header.level.into())
            .part(header.from.as_str().as_bytes())
            .part(envelope.to.as_str().as_bytes());
        let secret = self.secrets.sealing.get(cast::index_of(&envelope.to)?)?;
        let key = SealingKey::from_vault(secret).ok()?;
        Some((key, info.finish().0, carried.leaf.parts.get(at)?.step.to_be_bytes()))
    }

    fn opened(
        &self,
        envelope: &Envelope,
        place: (&Carried, usize),
        word: &[u8],
    ) -> Option<Vec<u8>> {
        let (key, info, aad) = self.seal_of(envelope, place)?;
        key.open(&info, &aad, word).ok().map(|plain| plain.to_vec())
    }

    fn sealed(
        &mut self,
        envelope: &Envelope,
        place: (&Carried, usize),
        word: &[u8],
    ) -> Option<Vec<u8>> {
        let (key, info, aad) = self.seal_of(envelope, place)?;
        let mut rng = ChaCha20Rng::from_seed(self.dice.bytes32());
        seal(&key.public(), &info, &aad, word, &mut rng).ok()
    }
}

/// A word with one place of it changed: a bit, a point, its length, or all of it.
fn change(mut word: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 => {
            word.pop();
        }
        1 => word.fill(0),
        2 => word.fill(0xff),
        3 => {
            let at = dice.index(2) * POINT.len();
            if let Some(place) = word.get_mut(at..at + POINT.len()) {
                place.copy_from_slice(&POINT);
            }
        }
        way => {
            let at = match way {
                4 | 5 => dice.index(word.len().min(EDGE)),
                6 | 7 => word.len().saturating_sub(1 + dice.index(word.len().min(EDGE))),
                _ => dice.index(word.len()),
            };
            let bit = dice.below(8);
            if let Some(byte) = word.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_is_nearly_always_another_and_an_empty_one_stays() {
        let mut dice = Dice::new(1, "test");
        let word: Vec<u8> = (1..=200).collect();
        let changed = (0..100).filter(|_| change(word.clone(), &mut dice) != word).count();
        assert_eq!(changed, 100);
        assert!((0..100).all(|_| change(Vec::new(), &mut dice).is_empty()));
    }
}
