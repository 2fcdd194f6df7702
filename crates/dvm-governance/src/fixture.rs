//! A cluster for tests: three nodes, a witness, three governors, three approvers, and its log.

use dvm_core::authority::*;
use dvm_core::codec::link_of;
use dvm_core::governance::*;
use dvm_core::intent::{ActClass, Backend};
use dvm_core::sign::sign_link;
use dvm_core::{Artifact, B32, KeyId, Link, NodeId, Signed, Signer};
use ed25519_dalek::SigningKey;

use crate::{
    AuthorityState, GuardRefused, Rule, Terms, apply, attach, cosign, draft_decision, draft_event,
    sign_decision,
};

pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// The key of a name: everything in tests is derived from names.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&dvm_core::digest::sha256(name.as_bytes()).0)
}

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap()
}

pub(crate) fn person(name: &str) -> Person {
    Person { person: id(name), key: key(name).public_key() }
}

pub(crate) fn passport(node: &str, generation: u32) -> NodePassport {
    let of = |purpose: &str| key(&format!("{node}/{purpose}")).public_key();
    NodePassport {
        node: id(node),
        org: id("org"),
        node_key: of("node"),
        kernel_key: of("kernel"),
        sealing_key: of("sealing").0,
        policy_key: of("policy"),
        generation,
    }
}

pub(crate) fn witness(node: &str) -> WitnessPassport {
    let of = |purpose: &str| key(&format!("{node}/{purpose}")).public_key();
    WitnessPassport {
        node: id(node),
        org: id("org"),
        node_key: of("node"),
        cosign_key: of("kernel"),
    }
}

pub(crate) fn rule(k: u16) -> ApprovalRule {
    ApprovalRule { set: id("officers"), k }
}

pub(crate) fn floor() -> Floor {
    Floor {
        admit: Some(rule(1)),
        release: ReleaseRule::Approvals(rule(2)),
        acts: vec![ActClass::SignMessage],
        executions_per_hour: 10,
        failures_to_freeze: 3,
    }
}

pub(crate) fn manifest() -> ClusterManifest {
    ClusterManifest {
        name: id("test"),
        nonce: B32([1; 32]),
        nodes: NODES.map(|n| passport(n, 1)).to_vec(),
        witnesses: vec![witness("w1")],
        faults: 1,
        sequencer: id("n1"),
        governors: Governors {
            threshold: 2,
            members: ["g1", "g2", "g3"].map(person).to_vec(),
            proposer_counts: false,
        },
        approvers: vec![ApproverSet {
            name: id("officers"),
            members: ["a1", "a2", "a3"].map(person).to_vec(),
        }],
        policy_root: Link::of_raw(b"policy"),
        keygen_floor: Floor { acts: vec![ActClass::KeyGenerate], ..floor() },
    }
}

pub(crate) fn ready(cluster: Link, name: &str, epoch: u32) -> KeyReady {
    KeyReady {
        cluster,
        key_id: id(name),
        key_epoch: epoch,
        backend: Backend::FrostEd25519,
        threshold: 2,
        roster: NODES.map(id).to_vec(),
        public_key: key(name).public_key().0.0.to_vec().into(),
        package: vec![epoch as u8 + 1].into(),
        intent: Link::of_raw(b"keygen"),
        execution_id: B32([2; 32]),
        transcript: B32([3; 32]),
        chain_code: None,
    }
}

pub(crate) fn certified(ready: KeyReady) -> KeyReadyCertificate {
    let link = link_of(&ready);
    let sign = |node: &NodeId| sign_link(&key(&format!("{node}/kernel")), KeyReady::SCHEMA, &link);
    let signatures = ready.roster.iter().map(sign).collect();
    KeyReadyCertificate { ready, signatures }
}

/// A log that grows; every helper panics if an entry that should pass is refused.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: AuthorityState,
    pub(crate) entries: Vec<LogEntry>,
}

impl World {
    pub(crate) fn forming() -> Self {
        Self { state: AuthorityState::genesis(&manifest()).unwrap(), entries: Vec::new() }
    }

    /// A cluster that is formed.
    pub(crate) fn formed() -> Self {
        let mut world = Self::forming();
        let manifest = world.state.cluster();
        world.push(EventKind::ClusterFormed { manifest });
        world
    }

    /// ... with a key object published.
    pub(crate) fn published(name: &str) -> Self {
        let mut world = Self::formed();
        world.publish(name);
        world
    }

    /// ... and activated.
    pub(crate) fn active(name: &str) -> Self {
        let mut world = Self::published(name);
        world.authorize(name);
        world.push(EventKind::KeyActivated { key_id: id(name) });
        world
    }

    pub(crate) fn publish(&mut self, name: &str) {
        let entry = self.publication(certified(ready(self.state.cluster(), name, 1)));
        self.accept(entry);
    }

    pub(crate) fn publication(&self, certificate: KeyReadyCertificate) -> LogEntry {
        let (key_id, key_ready_cid): (KeyId, Link) =
            (certificate.ready.key_id.clone(), link_of(&certificate.ready));
        let kind = match certificate.ready.key_epoch {
            1 => EventKind::KeyObjectPublished { key_id, key_ready_cid },
            _ => EventKind::KeyEpochPrepared { key_id, key_ready_cid },
        };
        let mut entry = self.entry(kind, None);
        entry.key_ready = Some(certificate);
        entry
    }

    pub(crate) fn authorize(&mut self, name: &str) {
        let decision = self.signed(EventKind::KeyActivated { key_id: id(name) }, &["g2", "g3"]);
        let entry =
            self.entry(EventKind::TransitionAuthorized { key_id: id(name) }, Some(decision));
        self.accept(entry);
    }

    /// A decision on this change at this head, proposed by g1.
    pub(crate) fn decision(&self, kind: EventKind) -> GovernanceDecision {
        let activates = matches!(kind, EventKind::KeyActivated { .. });
        let terms = Terms {
            floor: activates.then(floor),
            proposer: id("g1"),
            not_before_ms: 1_000,
            expires_ms: 2_000,
            nonce: B32([9; 32]),
        };
        draft_decision(&self.state, kind, terms)
    }

    pub(crate) fn signed(&self, kind: EventKind, governors: &[&str]) -> SignedDecision {
        sign_all(self.decision(kind), governors)
    }

    pub(crate) fn entry(&self, kind: EventKind, decision: Option<SignedDecision>) -> LogEntry {
        self.by("n1", draft_event(&self.state, kind, decision.as_ref(), id("n1")), decision)
    }

    pub(crate) fn by(
        &self,
        author: &str,
        event: Event,
        decision: Option<SignedDecision>,
    ) -> LogEntry {
        let event = Signed::new(event, &key(&format!("{author}/policy")));
        LogEntry { event, decision, key_ready: None }
    }

    /// The entry of this kind with whatever decision it needs.
    pub(crate) fn next(&self, kind: EventKind) -> LogEntry {
        use crate::{Needed, needed};
        let decision = match needed(&kind) {
            Needed::Nothing | Needed::Earlier => None,
            Needed::OneGovernor => Some(self.signed(kind.clone(), &["g1"])),
            Needed::Quorum => Some(self.signed(kind.clone(), &["g2", "g3"])),
        };
        self.entry(kind, decision)
    }

    pub(crate) fn push(&mut self, kind: EventKind) {
        let entry = self.next(kind);
        self.accept(entry);
    }

    pub(crate) fn accept(&mut self, entry: LogEntry) {
        self.state = apply(&self.state, &entry).unwrap();
        self.entries.push(entry);
    }

    pub(crate) fn refusal(&self, entry: &LogEntry) -> Option<Rule> {
        apply(&self.state, entry).err().map(|GuardRefused { rule, .. }| rule)
    }

    /// The rule that refuses this kind here, with the decision that it needs.
    pub(crate) fn refuses(&self, kind: EventKind) -> Option<Rule> {
        self.refusal(&self.next(kind))
    }
}

pub(crate) fn sign_all(decision: GovernanceDecision, governors: &[&str]) -> SignedDecision {
    let mut signed = SignedDecision { decision, signatures: Vec::new() };
    for governor in governors {
        let signature = sign_decision(&signed.decision, id(governor), &key(governor));
        attach(&mut signed, signature);
    }
    signed
}

pub(crate) fn certificate(state: &AuthorityState, members: &[&str]) -> HeadCertificate {
    let head = state.head();
    let one = |m: &&str| cosign(&state.cluster(), &head, id(m), 7, &key(&format!("{m}/kernel")));
    HeadCertificate {
        cluster: state.cluster(),
        head,
        cosignatures: members.iter().map(one).collect(),
    }
}
