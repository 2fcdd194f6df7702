//! A held result as the vault keeps it, from Held to Published.
//!
//! Always true: the record itself has no secret; the share is a record of its own and is read only to open it. What
//! was said in a publication is kept as it was sent, and is said again in the same bytes.

use dvm_core::authority::KeyReady;
use dvm_core::call::LevelReply;
use dvm_core::codec::Artifact;
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::receipt::{PublicationReceipt, ResultFacts};
use dvm_core::run::{Boot, RunHeader};
use dvm_core::{Bytes, Link, NodeId, Signed, limits};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::course::Course;
use crate::pairs::PairId;
use crate::phase::Phase;
use crate::stop::Stop;
use crate::store::{self, Draft, Kind};
use crate::vault::Vault;

/// How far it is through the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gate {
    Held,
    Granted,
    Opening,
    Published,
}

impl Gate {
    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Held => Phase::Held,
            Self::Granted => Phase::Granted,
            Self::Opening => Phase::Opening,
            Self::Published => Phase::Closed,
        }
    }
}

/// One signer's nonce commitments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commitment {
    pub(crate) node: NodeId,
    pub(crate) bytes: Bytes,
}

/// What is held, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Holding {
    /// A signature share under this key.
    Signature { ready: KeyReady, commitments: Vec<Commitment> },
    /// A key share; the facts become public with the publication.
    Key { ready: KeyReady },
}

/// A publication under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publication {
    pub(crate) header: RunHeader,
    pub(crate) course: Course,
    pub(crate) grant: Option<Signed<PublicationReceipt>>,
    /// The replies of the levels performed, in order: repeated, never recomputed.
    pub(crate) replies: Vec<LevelReply>,
}

/// A held result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeldRecord {
    pub(crate) intent: CanonicalIntent,
    /// The act run's header.
    pub(crate) header: RunHeader,
    pub(crate) course: Course,
    pub(crate) backend: Backend,
    pub(crate) facts: ResultFacts,
    /// This kernel's PermitReceipt.
    pub(crate) permit: Link,
    /// The boots that took part in the act run.
    pub(crate) boots: Vec<(NodeId, Boot)>,
    pub(crate) holding: Holding,
    pub(crate) held_at_ms: u64,
    pub(crate) gate: Gate,
    /// Whether a failed check of its opening cost what it costs: a count, or a ban.
    pub(crate) failed: bool,
    pub(crate) publication: Option<Publication>,
}

impl Artifact for HeldRecord {
    const SCHEMA: &'static str = "dvm/kernel-held/2";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}

impl HeldRecord {
    pub(crate) fn ready(&self) -> &KeyReady {
        match &self.holding {
            Holding::Signature { ready, .. } | Holding::Key { ready } => ready,
        }
    }

    /// Whether it was held for longer than anything may be.
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.held_at_ms) > limits::HELD_TTL_MS
    }

    fn id(&self) -> &[u8] {
        &self.facts.execution_id.0
    }

    pub(crate) fn save(&self, draft: &mut Draft) {
        draft.put(Kind::Held, self.id(), self);
    }

    pub(crate) fn save_share(&self, draft: &mut Draft, share: Zeroizing<Vec<u8>>) {
        draft.put_secret(Kind::HeldShare, self.id(), share);
    }

    pub(crate) fn save_message(&self, draft: &mut Draft, message: &[u8]) {
        draft.put_secret(Kind::HeldMessage, self.id(), Zeroizing::new(message.to_vec()));
    }

    pub(crate) fn share(&self, vault: &mut Vault) -> Result<Zeroizing<Vec<u8>>, Stop> {
        let share = store::read(vault, Kind::HeldShare, self.id())?;
        share.ok_or_else(|| Stop::internal("the held share is missing"))
    }

    pub(crate) fn message(&self, vault: &mut Vault) -> Result<Zeroizing<Vec<u8>>, Stop> {
        let message = store::read(vault, Kind::HeldMessage, self.id())?;
        message.ok_or_else(|| Stop::internal("the held message is missing"))
    }

    /// Forgets the secret and what it is over; the record itself stays.
    pub(crate) fn wipe(&self, draft: &mut Draft) {
        draft.delete(Kind::HeldShare, self.id());
        draft.delete(Kind::HeldMessage, self.id());
    }

    /// The set-ups of a key's pairs, which are made with it.
    fn pairs(&self) -> impl Iterator<Item = PairId> {
        let makes_key = matches!(self.holding, Holding::Key { .. });
        let holders = self.header.participants.iter().filter(move |_| makes_key);
        holders.map(|peer| PairId { made_by: self.facts.execution_id, peer: peer.clone() })
    }

    /// Forgets everything. The set-ups of a key that was published are the key's from then on.
    pub(crate) fn destroy(&self, draft: &mut Draft) {
        self.wipe(draft);
        draft.delete(Kind::Held, self.id());
        if self.gate != Gate::Published {
            self.pairs().for_each(|pair| pair.delete(draft));
        }
    }
}

/// Where a published key's share is kept: by the key's name and the link of its facts, so that the share that signs is
/// the one that governance activated.
pub(crate) fn key_share_id(key_id: &dvm_core::KeyId, ready: &Link) -> Vec<u8> {
    [key_id.as_str().as_bytes(), b"/", &ready.digest().0].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use dvm_core::B32;
    use dvm_core::intent::{Act, Scope};
    use dvm_core::run::RunKind;

    use super::*;

    fn vault(dir: &std::path::Path) -> Vault {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let master = crate::unseal::MasterKey::from_bytes(Zeroizing::new([7; 32]));
        let rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(1);
        Vault::open(dir, master, Box::new(rng)).unwrap()
    }

    /// A key with pairs, generated by run 1 and held at this gate.
    fn held(gate: Gate) -> HeldRecord {
        let (key_id, backend): (dvm_core::KeyId, _) =
            ("treasury".parse().unwrap(), Backend::Dkls23Secp256k1);
        let roster: Vec<NodeId> = ["n1", "n2"].map(|n| n.parse().unwrap()).to_vec();
        let (link, execution_id) = (Link::of_raw(b"any"), B32([1; 32]));
        let ready = KeyReady {
            cluster: link,
            key_id: key_id.clone(),
            key_epoch: 1,
            backend,
            threshold: 2,
            roster: roster.clone(),
            public_key: Bytes::default(),
            package: Bytes::default(),
            intent: link,
            execution_id,
            transcript: B32::default(),
            chain_code: None,
        };
        HeldRecord {
            intent: CanonicalIntent {
                cluster: link,
                tenant: "tenant".parse().unwrap(),
                idempotency_key: "one".parse().unwrap(),
                requester: "alice".parse().unwrap(),
                act: Act::KeyGenerate { key_id, backend, threshold: 2, roster: roster.clone() },
                scope: Scope::Public,
                display_hash: B32::default(),
                expires_ms: 1,
            },
            header: RunHeader {
                cluster: link,
                intent: link,
                kind: RunKind::Act { attempt: 1, opens: Vec::new(), material: None },
                plan_id: B32::default(),
                key_epoch: 1,
                participants: roster,
                soft_deadline_ms: 1,
                hard_deadline_ms: 1,
            },
            course: Course::new(execution_id, B32::default(), B32::default()),
            backend,
            facts: ResultFacts {
                execution_id,
                digest: B32::default(),
                public_nonce: Bytes::default(),
                material: None,
            },
            permit: link,
            boots: Vec::new(),
            holding: Holding::Key { ready },
            held_at_ms: 1,
            gate,
            failed: false,
            publication: None,
        }
    }

    #[test]
    fn pairs_of_a_key_end_with_what_holds_it_unless_it_was_published() {
        for (gate, ends) in [(Gate::Held, true), (Gate::Granted, true), (Gate::Published, false)] {
            let dir = tempfile::tempdir().unwrap();
            let mut vault = vault(dir.path());
            let record = held(gate);
            let mut draft = Draft::new(&vault);
            record.save(&mut draft);
            record.pairs().for_each(|pair| pair.save(&mut draft, Zeroizing::new(vec![1])));
            // Another key's.
            let other = PairId { made_by: B32([2; 32]), peer: "n2".parse().unwrap() };
            other.save(&mut draft, Zeroizing::new(vec![1]));
            draft.commit(&mut vault, 0).unwrap();
            let mut draft = Draft::new(&vault);
            record.destroy(&mut draft);
            draft.commit(&mut vault, 0).unwrap();
            let kept = vault.scan(Kind::PairSetup.name()).unwrap().len();
            assert_eq!(kept, if ends { 1 } else { 3 }, "{gate:?}");
            assert!(vault.scan(Kind::Held.name()).unwrap().is_empty());
        }
    }
}
