//! The pinned authority: which cluster, which node of it, and what its certified log says.
//!
//! Source: the design's governance chapter. The rules are `dvm-governance`'s; here is what a kernel does with them.
//! Always true: the cluster is pinned once for ever; the state is the fold of certified entries that are in the vault;
//! what the sign-once register allows is durable before the cosignature exists.

use dvm_core::authority::{ClusterManifest, NodePassport};
use dvm_core::call::KernelReply;
use dvm_core::codec::{Artifact, link_of};
use dvm_core::governance::{HeadCertificate, LogEntry};
use dvm_core::{Link, NodeId, ReasonCode, limits};
use dvm_governance::{AuthorityState, KeyRecord, KeyState, Register, adopt, apply, cosign};
use serde::{Deserialize, Serialize};

use crate::stop::{Stop, ensure};
use crate::store::{self, Kind};
use crate::vault::Vault;
use crate::{Answer, Kernel};

const ID: &[u8] = b"own";

/// What `Pin` made durable.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    manifest: ClusterManifest,
    node: NodeId,
}

impl Artifact for Pin {
    const SCHEMA: &'static str = "dvm/kernel-pin/1";
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterRecord {
    register: Register,
}

impl Artifact for RegisterRecord {
    const SCHEMA: &'static str = "dvm/kernel-register/1";
}

/// The authority that this kernel works under.
pub(crate) struct Pinned {
    pub(crate) node: NodeId,
    pub(crate) state: AuthorityState,
    register: Register,
}

impl Pinned {
    /// Folds what the vault holds; none if nothing was pinned yet.
    pub(crate) fn load(vault: &mut Vault) -> Result<Option<Self>, Stop> {
        let Some(pin) = store::load::<Pin>(vault, Kind::Pin, ID)? else { return Ok(None) };
        let mut state = AuthorityState::genesis(&pin.manifest)
            .map_err(|_| Stop::internal("the pinned manifest is not well formed"))?;
        // Ids are big-endian sequence numbers, so the order of ids is the order of the log.
        for (_, entry) in store::load_all::<LogEntry>(vault, Kind::LogEntry)? {
            state = apply(&state, &entry)
                .map_err(|_| Stop::internal("the stored log does not fold"))?;
        }
        let register = store::load::<RegisterRecord>(vault, Kind::Register, ID)?;
        let register = register.map_or_else(|| Register::new(&state), |r| r.register);
        Ok(Some(Self { node: pin.node, state, register }))
    }

    pub(crate) fn cluster(&self) -> Link {
        self.state.cluster()
    }

    /// The current passport of a node.
    pub(crate) fn passport(&self, node: &NodeId) -> Result<&NodePassport, Stop> {
        let found = self.state.passport(node);
        found.ok_or_else(|| {
            Stop::refused(ReasonCode::BindingMismatch, "no such node in the cluster")
        })
    }

    /// This node's own passport.
    pub(crate) fn own(&self) -> Result<&NodePassport, Stop> {
        self.passport(&self.node)
    }
}

impl Kernel {
    /// Pins the cluster, once for ever. The same pin again is no change.
    pub(crate) fn pin(&mut self, manifest: &ClusterManifest, node: NodeId) -> Answer {
        let state = AuthorityState::genesis(manifest)
            .map_err(|refused| Stop::refused(refused.code, refused.rule.name()))?;
        if let Some(pinned) = &self.pinned {
            let same = pinned.cluster() == state.cluster() && pinned.node == node;
            ensure(same, ReasonCode::ReplayOrConflict, "another cluster or node is pinned")?;
            return Ok(KernelReply::Head(pinned.state.head()));
        }
        let passport = state.passport(&node).ok_or_else(|| {
            Stop::refused(ReasonCode::BindingMismatch, "the manifest does not name this node")
        })?;
        self.identity.refuse_unless_named_in(passport)?;
        let mut draft = self.draft();
        draft.bind(state.cluster(), node.as_str());
        draft.put(Kind::Pin, ID, &Pin { manifest: manifest.clone(), node: node.clone() });
        self.commit(draft)?;
        let (head, register) = (state.head(), Register::new(&state));
        self.pinned = Some(Pinned { node, state, register });
        Ok(KernelReply::Head(head))
    }

    /// Cosigns the head of the certified log extended by one entry, once per sequence number.
    pub(crate) fn cosign(&mut self, entry: &LogEntry, time_s: u64, now_ms: u64) -> Answer {
        let pinned = self.pinned()?;
        let skew_ms = time_s.saturating_mul(1_000).abs_diff(now_ms);
        ensure(
            skew_ms <= limits::CLOCK_SKEW_MS_MAX,
            ReasonCode::Expired,
            "claimed time is not this kernel's",
        )?;
        let allowed = pinned
            .register
            .may_cosign(&pinned.state, entry, now_ms)
            .map_err(|code| Stop::refused(code, "the entry may not be cosigned"))?;
        let (cluster, member) = (pinned.cluster(), pinned.node.clone());
        let mut draft = self.draft();
        draft.put(Kind::Register, ID, &RegisterRecord { register: allowed.register });
        // Durable first. A crash here costs nothing: the same entry may be cosigned again, no other may.
        self.commit(draft)?;
        if let Some(pinned) = &mut self.pinned {
            pinned.register = allowed.register;
        }
        let cosignature = cosign(&cluster, &allowed.head, member, time_s, self.identity.signer());
        Ok(KernelReply::Cosigned(cosignature))
    }

    /// Adopts certified entries that continue the pinned log.
    pub(crate) fn adopt(
        &mut self,
        entries: Vec<LogEntry>,
        certificate: &HeadCertificate,
        now_ms: u64,
    ) -> Answer {
        let pinned = self.pinned()?;
        let head = pinned.state.head();
        if certificate.head == head && entries.is_empty() {
            return Ok(KernelReply::Head(head));
        }
        let newer = certificate.head.size > head.size;
        ensure(newer, ReasonCode::StaleEpoch, "the certificate is not of a newer head")?;
        let state = adopt(&pinned.state, &entries, certificate).map_err(|refused| {
            Stop::refused(refused.code(), "entries or certificate do not hold")
        })?;
        let register = pinned.register.certify(&entries, &state).map_err(|code| {
            Stop::refused(code, "another entry was cosigned for this sequence number")
        })?;
        let mut draft = self.draft();
        for entry in &entries {
            draft.put(Kind::LogEntry, &entry.event.body.seq.to_be_bytes(), entry);
        }
        draft.put(Kind::Register, ID, &RegisterRecord { register });
        self.commit(draft)?;
        let head = state.head();
        self.pairs.keep(|made_by| {
            let signs =
                |r: &KeyRecord| r.state == KeyState::Active && r.ready.execution_id == *made_by;
            state.keys().values().any(signs)
        });
        if let Some(pinned) = &mut self.pinned {
            pinned.state = state;
            pinned.register = register;
        }
        self.tidy_stash(now_ms);
        Ok(KernelReply::Head(head))
    }
}

/// The link of an intent, as everything names it.
pub(crate) fn intent_link(intent: &dvm_core::intent::CanonicalIntent) -> Link {
    link_of(intent)
}
