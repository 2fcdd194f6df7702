//! Frames: what one peer says to all others in one level, under one kernel signature.
//!
//! A level's sends form one broadcast leaf and one private leaf per recipient; `out_root` is the
//! Merkle root over them, and the header with it is signed once. So the same header reaches
//! everyone, and a peer that told two stories has signed both.
//!
//! Always true: an [`Authentic`] frame exists only if the sender's kernel signed its header and every
//! byte in it is under that signature.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bytes::{B32, Bytes};
use crate::codec::Artifact;
use crate::digest::{self, Domain, Tagged};
use crate::ids::NodeId;
use crate::limits;
use crate::link::Link;
use crate::merkle;
use crate::reason::ReasonCode;
use crate::run::Boot;
use crate::sign::{PublicKey, Signed};

/// A payload's name; the payload travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadRef {
    /// sha2-256 of the bytes on the wire (sealed, where private).
    pub digest: B32,
    /// Their number.
    pub len: u32,
}

impl PayloadRef {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: digest::sha256(bytes), len: bytes.len().try_into().unwrap_or(u32::MAX) }
    }
}

/// One plan step's payload within a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRef {
    /// Index of the step in the plan.
    pub step: u16,
    /// The payload.
    pub payload: PayloadRef,
}

/// What one peer says to one recipient (or to all) in one level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// The recipient; none for the broadcast leaf.
    pub to: Option<NodeId>,
    /// Hides a private leaf from those it is not for.
    pub salt: B32,
    /// Sorted by step.
    pub parts: Vec<PartRef>,
}

impl Leaf {
    /// The bytes that the Merkle tree covers.
    pub fn digest(&self) -> B32 {
        let to = self.to.as_ref().map_or("", NodeId::as_str);
        let mut tagged = Tagged::new(Domain::Leaf).part(to.as_bytes()).part(&self.salt.0);
        for part in &self.parts {
            tagged = tagged
                .number(part.step.into())
                .part(&part.payload.digest.0)
                .number(part.payload.len.into());
        }
        tagged.finish()
    }
}

/// The signed header of one peer's level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameHeader {
    /// The run.
    pub execution_id: B32,
    /// Which run of the sender's kernel.
    pub boot: Boot,
    /// Monotone over the sender's statements.
    pub vault_seq: u64,
    /// The level, from 1.
    pub level: u16,
    /// The sender.
    pub from: NodeId,
    /// The sender's view of the level before.
    pub prev_view: B32,
    /// Root over everything it says in this level.
    pub out_root: B32,
}

impl Artifact for FrameHeader {
    const SCHEMA: &'static str = "dvm/frame-header/1";
}

/// One leaf with its place under `out_root` and its payload bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The leaf.
    pub leaf: Leaf,
    /// Its place.
    pub path: merkle::Path,
    /// The payloads, in the leaf's order.
    pub payloads: Vec<Bytes>,
}

/// A frame as it travels to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// For whom.
    pub to: NodeId,
    /// Binds every other field; see [`Envelope::expected_binding`].
    pub binding_hash: B32,
    /// The header, signed by the sender's kernel.
    pub header: Signed<FrameHeader>,
    /// What it says to all.
    pub broadcast: Carried,
    /// What it says to the recipient alone.
    pub private: Carried,
}

impl Artifact for Envelope {
    const SCHEMA: &'static str = "dvm/envelope/1";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}

/// A frame whose every byte is under its sender's kernel signature. Made only by
/// [`Envelope::authenticate`].
#[derive(Clone, Debug)]
pub struct Authentic(Envelope);

impl Authentic {
    /// The frame.
    pub fn envelope(&self) -> &Envelope {
        &self.0
    }

    /// The header.
    pub fn header(&self) -> &FrameHeader {
        &self.0.header.body
    }

    /// The payload of a step, if the frame carries one: broadcast first, then private.
    pub fn payload(&self, step: u16) -> Option<&Bytes> {
        let find = |carried: &'_ Carried| carried.leaf.parts.iter().position(|p| p.step == step);
        let broadcast = find(&self.0.broadcast).and_then(|i| self.0.broadcast.payloads.get(i));
        broadcast.or_else(|| find(&self.0.private).and_then(|i| self.0.private.payloads.get(i)))
    }
}

impl Envelope {
    /// Builds the envelope for one recipient, binding hash included.
    pub fn seal(
        to: NodeId,
        header: Signed<FrameHeader>,
        broadcast: Carried,
        private: Carried,
    ) -> Self {
        let mut envelope = Self { to, binding_hash: B32::default(), header, broadcast, private };
        envelope.binding_hash = envelope.expected_binding();
        envelope
    }

    /// Hash over the recipient, the header with its signature, and both leaves with their places.
    pub fn expected_binding(&self) -> B32 {
        self.binding_over(&self.header.link())
    }

    fn binding_over(&self, header: &Link) -> B32 {
        let mut tagged = Tagged::new(Domain::Binding)
            .part(self.to.as_str().as_bytes())
            .part(&header.to_bytes())
            .part(&self.header.cose);
        for carried in [&self.broadcast, &self.private] {
            tagged = tagged
                .part(&carried.leaf.digest().0)
                .number(carried.path.index.into())
                .number(carried.path.size.into());
            for sibling in &carried.path.siblings {
                tagged = tagged.part(&sibling.0);
            }
        }
        tagged.finish()
    }

    /// Checks binding hash, kernel signature, both leaves and every payload.
    ///
    /// # Errors
    /// `BINDING_MISMATCH` for anything that is not exactly what the sender's kernel signed.
    pub fn authenticate(self, sender_kernel: PublicKey) -> Result<Authentic, ReasonCode> {
        let bad = ReasonCode::BindingMismatch;
        let header = self.header.verified_link(sender_kernel).map_err(|_| bad)?;
        if self.binding_hash != self.binding_over(&header) {
            return Err(bad);
        }
        // One root has one first leaf. Were any place allowed, a sender could put two broadcast
        // leaves under one signed root and tell two stories that no view would show.
        let addressed = self.broadcast.leaf.to.is_none()
            && self.broadcast.path.index == 0
            && self.private.leaf.to.as_ref() == Some(&self.to);
        let root = self.header.body.out_root;
        if addressed && self.broadcast.holds(root) && self.private.holds(root) {
            Ok(Authentic(self))
        } else {
            Err(bad)
        }
    }
}

impl Carried {
    fn holds(&self, out_root: B32) -> bool {
        let named = self.leaf.parts.iter().map(|p| p.payload);
        self.path.root_of(&self.leaf.digest().0) == Some(out_root)
            && self.leaf.parts.len() == self.payloads.len()
            && named.zip(&self.payloads).all(|(name, bytes)| PayloadRef::of(bytes) == name)
    }
}

/// Everything a peer sends in one level, before it is signed.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// To all: (step, bytes).
    pub broadcast: Vec<(u16, Bytes)>,
    /// To one: recipient → (step, bytes).
    pub private: BTreeMap<NodeId, Vec<(u16, Bytes)>>,
}

/// The leaves of one level and their root.
#[derive(Debug)]
pub struct OutTree {
    /// What the header names.
    pub out_root: B32,
    broadcast: Carried,
    private: BTreeMap<NodeId, Carried>,
}

impl OutTree {
    /// Lays the sends of a level out as leaves: broadcast first, then recipients in order.
    /// `salts` gives one fresh 32-byte salt per leaf.
    pub fn lay_out(out: Outgoing, recipients: &[NodeId], mut salts: impl FnMut() -> B32) -> Self {
        let mut leaf = |to: Option<NodeId>, parts: Vec<(u16, Bytes)>| {
            let refs =
                parts.iter().map(|(step, b)| PartRef { step: *step, payload: PayloadRef::of(b) });
            let leaf = Leaf { to, salt: salts(), parts: refs.collect() };
            (leaf, parts.into_iter().map(|(_, b)| b).collect::<Vec<_>>())
        };
        let mut private = out.private;
        let mut leaves = vec![leaf(None, out.broadcast)];
        for node in recipients {
            let parts = private.remove(node).unwrap_or_default();
            leaves.push(leaf(Some(node.clone()), parts));
        }
        let digests: Vec<[u8; 32]> = leaves.iter().map(|(l, _)| l.digest().0).collect();
        let out_root = merkle::root(&digests);
        let mut carried = leaves.into_iter().enumerate().filter_map(|(i, (leaf, payloads))| {
            Some(Carried { leaf, path: merkle::path(&digests, i)?, payloads })
        });
        let empty = || Carried {
            leaf: Leaf { to: None, salt: B32::default(), parts: Vec::new() },
            path: merkle::Path { index: 0, size: 0, siblings: Vec::new() },
            payloads: Vec::new(),
        };
        let broadcast = carried.next().unwrap_or_else(empty);
        let private = recipients.iter().cloned().zip(carried).collect();
        Self { out_root, broadcast, private }
    }

    /// The envelopes of a signed level, one per recipient.
    pub fn envelopes(&self, header: &Signed<FrameHeader>) -> Vec<Envelope> {
        let each = |(to, private): (&NodeId, &Carried)| {
            Envelope::seal(to.clone(), header.clone(), self.broadcast.clone(), private.clone())
        };
        self.private.iter().map(each).collect()
    }
}

/// The view of one level: who said what, as one digest. Level 0 is the header itself.
pub fn view(execution_id: &B32, level: u16, roots: &BTreeMap<NodeId, B32>) -> B32 {
    let mut tagged = Tagged::new(Domain::View).part(&execution_id.0).number(level.into());
    for (node, root) in roots {
        tagged = tagged.part(node.as_str().as_bytes()).part(&root.0);
    }
    tagged.finish()
}

#[cfg(test)]
mod tests;
