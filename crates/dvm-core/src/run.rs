//! Runs: a kernel's opening, the proposal that binds t of them, and the execution's id.

use serde::{Deserialize, Serialize};

use crate::bytes::B32;
use crate::codec::{self, Artifact};
use crate::digest::{Domain, Tagged};
use crate::governance::HeadRef;
use crate::ids::NodeId;
use crate::link::Link;
use crate::sighting::Seen;
use crate::sign::Signed;

/// Which run of a kernel process: raised durably at every start, with a random id beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Strictly rising.
    pub generation: u64,
    /// Two live instances of one generation differ here.
    pub id: B32,
}

/// A kernel's readiness for one intent: fresh, single-use, bound to a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The cluster.
    pub cluster: Link,
    /// Whose kernel.
    pub node: NodeId,
    /// Which run of it.
    pub boot: Boot,
    /// Monotone over all statements of this kernel.
    pub vault_seq: u64,
    /// The authority it works under.
    pub head: HeadRef,
    /// What it is ready for.
    pub intent: Link,
    /// The node's own admission that it was shown.
    pub admission: Link,
    /// How often this kernel has opened this intent, from 1. A later one ends an earlier one.
    pub opening: u32,
    /// Random.
    pub nonce: B32,
    /// The kernel's clock.
    pub time_ms: u64,
    /// How far this kernel saw the others' kernels come, sorted: each of them must find nothing here that it does not
    /// know of itself.
    pub seen: Vec<Seen>,
}

impl Artifact for Open {
    const SCHEMA: &'static str = "dvm/open/1";
}

/// One piece of one-time material: what a signature spends instead of making its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Material {
    /// The batch's public name; see [`batch_name`].
    pub batch: B32,
    /// Its place there, from 0.
    pub index: u32,
}

/// The public name of a batch of one-time material: what its run was, and every nonce in it. So signers
/// with other material have another name for it.
pub fn batch_name<'a>(execution_id: &B32, nonces: impl Iterator<Item = &'a [u8]>) -> B32 {
    let start = Tagged::new(Domain::Batch).part(&execution_id.0);
    nonces.fold(start, Tagged::part).finish()
}

/// What a run does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RunKind {
    /// Performs the intent's act, up to a held result.
    #[serde(rename = "act")]
    Act {
        /// The coordinator's count of tries.
        attempt: u32,
        /// Links of the signers' opens, in roster order.
        opens: Vec<Link>,
        /// The material that it spends; none for a run that makes all it needs.
        material: Option<Material>,
    },
    /// Publishes the result that another run holds.
    #[serde(rename = "publish")]
    Publish {
        /// The run that holds it.
        of: B32,
        /// The result's public name.
        result_ref: B32,
    },
}

impl RunKind {
    /// The material that the run spends.
    pub fn material(&self) -> Option<Material> {
        match self {
            Self::Act { material, .. } => *material,
            Self::Publish { .. } => None,
        }
    }
}

/// The header that every participant computes and agrees on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunHeader {
    /// The cluster.
    pub cluster: Link,
    /// The intent.
    pub intent: Link,
    /// Act or publication.
    pub kind: RunKind,
    /// The plan that every participant compiled for itself.
    pub plan_id: B32,
    /// Epoch of the key.
    pub key_epoch: u32,
    /// Participants, sorted: exactly t for signing, all holders for key generation.
    pub participants: Vec<NodeId>,
    /// A level that is open longer reports `REMOTE_TIMEOUT` and re-sends.
    pub soft_deadline_ms: u64,
    /// A level that is open longer aborts the run. 0 for a publication: it waits.
    pub hard_deadline_ms: u64,
}

impl Artifact for RunHeader {
    const SCHEMA: &'static str = "dvm/run-header/2";
}

impl RunHeader {
    /// The run's id: it binds intent, plan, epoch, signers and each signer's fresh opening.
    pub fn execution_id(&self) -> B32 {
        let domain = match self.kind {
            RunKind::Act { .. } => Domain::Execution,
            RunKind::Publish { .. } => Domain::Publication,
        };
        Tagged::new(domain).part(&codec::encode(self)).finish()
    }
}

/// A coordinator's proposal: the header and the openings it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The header.
    pub header: RunHeader,
    /// The openings, in participant order. Empty for a publication.
    pub opens: Vec<Signed<Open>>,
}

impl Artifact for Proposal {
    const SCHEMA: &'static str = "dvm/proposal/2";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_another_run_or_with_other_nonces_has_another_name() {
        let name = |run: u8, nonces: &[&[u8]]| batch_name(&B32([run; 32]), nonces.iter().copied());
        let one = name(1, &[b"ab", b"c"]);
        for other in [
            name(2, &[b"ab", b"c"]),
            name(1, &[b"a", b"bc"]),
            name(1, &[b"c", b"ab"]),
            name(1, &[]),
        ] {
            assert_ne!(one, other);
        }
    }
}
