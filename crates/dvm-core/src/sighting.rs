//! What kernels saw of each other: statements that carry a boot, sightings of them, and what follows from two that
//! cannot both be by one kernel.
//!
//! Source: the design's kernel page, "Rollback and clones". Always true: a [`Sighting`] or [`FencingRecord`] rests on
//! statements that the kernel it is about signed itself, so nobody can make up either.
//! Not here: what a kernel remembers, and what it does about it.

use serde::{Deserialize, Serialize};

use crate::call::Attestation;
use crate::codec::Artifact;
use crate::frame::FrameHeader;
use crate::ids::NodeId;
use crate::link::Link;
use crate::run::{Boot, Open};
use crate::sign::{BadSignature, PublicKey, Signed};

/// How far a kernel had come when somebody last heard of it: a claim, until a [`Statement`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Which kernel, by its signing key: a node that was bound anew has another.
    pub kernel: PublicKey,
    /// Which run of it.
    pub boot: Boot,
    /// Its highest number.
    pub vault_seq: u64,
}

/// A kernel's signed statement that shows how far it had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// Its word on itself.
    #[serde(rename = "attestation")]
    Attestation(Box<Signed<Attestation>>),
    /// An opening.
    #[serde(rename = "open")]
    Open(Box<Signed<Open>>),
    /// A level's header.
    #[serde(rename = "frame")]
    Frame(Box<Signed<FrameHeader>>),
}

impl Statement {
    /// Which run of the kernel speaks.
    pub fn boot(&self) -> Boot {
        match self {
            Self::Attestation(a) => a.body.boot,
            Self::Open(o) => o.body.boot,
            Self::Frame(f) => f.body.boot,
        }
    }

    /// Its number; of an attestation, the highest number so far.
    pub fn vault_seq(&self) -> u64 {
        match self {
            Self::Attestation(a) => a.body.vault_seq,
            Self::Open(o) => o.body.vault_seq,
            Self::Frame(f) => f.body.vault_seq,
        }
    }

    /// Its link, if it took a number for itself alone.
    pub fn numbered(&self) -> Option<Link> {
        match self {
            Self::Attestation(_) => None,
            Self::Open(o) => Some(o.link()),
            Self::Frame(f) => Some(f.link()),
        }
    }

    /// Whether this kernel signed it.
    ///
    /// # Errors
    /// [`BadSignature`] if it did not.
    pub fn verify(&self, kernel: PublicKey) -> Result<(), BadSignature> {
        match self {
            Self::Attestation(a) => a.verify(kernel).map(drop),
            Self::Open(o) => o.verify(kernel).map(drop),
            Self::Frame(f) => f.verify(kernel).map(drop),
        }
    }

    /// Whether no single kernel makes both: two boots of one generation, or two statements with one number.
    pub fn contradicts(&self, other: &Self) -> bool {
        let (a, b) = (self.boot(), other.boot());
        let twice = || match (self.numbered(), other.numbered()) {
            (Some(one), Some(two)) => self.vault_seq() == other.vault_seq() && one != two,
            _ => false,
        };
        a.generation == b.generation && (a.id != b.id || twice())
    }
}

/// What one kernel tells another that it had seen of it. It names the boot that it is told to, so it was made after
/// that boot began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The cluster.
    pub cluster: Link,
    /// Who saw.
    pub by: NodeId,
    /// The kernel that it is about.
    pub kernel: PublicKey,
    /// The boot that it is told to.
    pub to: Boot,
    /// The highest statement by that kernel before; none if it was never heard of.
    pub seen: Option<Statement>,
}

impl Artifact for Sighting {
    const SCHEMA: &'static str = "dvm/sighting/1";
}

/// Evidence that a kernel runs, or ran, twice: two statements by it that no single kernel makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FencingRecord {
    /// The cluster.
    pub cluster: Link,
    /// The node.
    pub node: NodeId,
    /// Its kernel, as its passport names it.
    pub kernel: PublicKey,
    /// One statement.
    pub first: Statement,
    /// The other.
    pub second: Statement,
}

impl Artifact for FencingRecord {
    const SCHEMA: &'static str = "dvm/fencing-record/1";
}

impl FencingRecord {
    /// Whether it shows what it says, to anybody who knows the node's passport.
    pub fn holds(&self) -> bool {
        self.first.contradicts(&self.second)
            && self.first.verify(self.kernel).is_ok()
            && self.second.verify(self.kernel).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::B32;
    use crate::sign::Signer;
    use ed25519_dalek::SigningKey;

    fn frame(key: &SigningKey, generation: u64, id: u8, vault_seq: u64, level: u16) -> Statement {
        let header = FrameHeader {
            execution_id: B32::default(),
            boot: Boot { generation, id: B32([id; 32]) },
            vault_seq,
            level,
            from: "n1".parse().unwrap(),
            prev_view: B32::default(),
            out_root: B32::default(),
        };
        Statement::Frame(Box::new(Signed::new(header, key)))
    }

    #[test]
    fn record_holds_for_two_boots_of_a_generation_or_two_words_under_a_number_and_for_nothing_less()
    {
        let key = SigningKey::from_bytes(&[1; 32]);
        let other = SigningKey::from_bytes(&[2; 32]);
        let holds = |first: Statement, second: Statement| {
            let (cluster, node) = (Link::of_raw(b"cluster"), "n1".parse().unwrap());
            FencingRecord { cluster, node, kernel: key.public_key(), first, second }.holds()
        };
        let own = |generation, id, seq, level| frame(&key, generation, id, seq, level);
        assert!(holds(own(2, 1, 5, 1), own(2, 2, 9, 1)));
        assert!(holds(own(2, 1, 5, 1), own(2, 1, 5, 2)));
        assert!(!holds(own(2, 1, 5, 1), own(3, 2, 5, 1)));
        assert!(!holds(own(2, 1, 5, 1), own(2, 1, 6, 2)));
        assert!(!holds(own(2, 1, 5, 1), own(2, 1, 5, 1)));
        assert!(!holds(own(2, 1, 5, 1), frame(&other, 2, 2, 9, 1)));
    }
}
