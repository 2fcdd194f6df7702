//! What the log says at one head: who is in, who decides, and which keys have authority.
//!
//! Always true: a value exists only as [`AuthorityState::genesis`] of a well-formed manifest or as
//! the fold of entries that passed their guards. "Key exists" is [`KeyState::PreActivation`]; only
//! [`KeyState::Active`] is authority.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::authority::{ApproverSet, ClusterManifest, Floor, KeyReady, NodePassport};
use dvm_core::codec::{Artifact, link_of};
use dvm_core::governance::HeadRef;
use dvm_core::ids::SetName;
use dvm_core::limits::ARTIFACT_BYTES_MAX;
use dvm_core::merkle::Frontier;
use dvm_core::{KeyId, Link, NodeId};
use serde::{Deserialize, Serialize};

use crate::guard::GuardRefused;
use crate::roster;

/// SP 800-57 states of a key object, with the step between decision and activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// The object exists and is recorded; it can sign nothing.
    PreActivation,
    /// A quorum decided; the activation itself is not in the log yet. It can sign nothing.
    Authorized,
    /// Signing sessions may use it.
    Active,
    /// Out of use until resumed.
    Suspended,
    /// Verify only, for good.
    Deactivated,
    /// Not to be trusted from here on.
    Compromised,
    /// Its shares are gone.
    Destroyed,
}

impl KeyState {
    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreActivation => "Pre-activation",
            Self::Authorized => "Authorized",
            Self::Active => "Active",
            Self::Suspended => "Suspended",
            Self::Deactivated => "Deactivated",
            Self::Compromised => "Compromised",
            Self::Destroyed => "Destroyed",
        }
    }

    /// Whether the key can still come to sign, now or later.
    pub fn is_live(self) -> bool {
        matches!(self, Self::PreActivation | Self::Authorized | Self::Active | Self::Suspended)
    }
}

/// New shares of a key that are ready to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// The facts of the new epoch.
    pub ready: KeyReady,
    /// Their link.
    pub key_ready_cid: Link,
}

/// One key's life so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Where it is in its life.
    pub state: KeyState,
    /// The one epoch that can sign.
    pub epoch: u32,
    /// The public facts of that epoch.
    pub ready: KeyReady,
    /// Their link.
    pub key_ready_cid: Link,
    /// What kernels enforce; present from the authorisation on.
    pub floor: Option<Floor>,
    /// The decision that authorised it.
    pub decision: Option<Link>,
    /// The next epoch, acknowledged by every holder.
    pub prepared: Option<Prepared>,
    /// Who took over, after a rotation.
    pub successor: Option<KeyId>,
    /// Failures counted before this event no longer freeze the key.
    pub unfrozen_seq: Option<u64>,
    /// Bans from before this event no longer hold, by node.
    pub unbanned: BTreeMap<NodeId, u64>,
}

/// What the cluster as a whole may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterState {
    /// `ClusterFormed` is not in the log yet.
    Forming,
    /// Everything may go on.
    Normal,
    /// Members are missing; signing goes on.
    Degraded,
    /// A governor's hold: no signing.
    Held,
    /// Proven equivocation: no signing.
    Disputed,
    /// Over.
    Retired,
}

impl ClusterState {
    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forming => "Forming",
            Self::Normal => "Normal",
            Self::Degraded => "Degraded",
            Self::Held => "Held",
            Self::Disputed => "Disputed",
            Self::Retired => "Retired",
        }
    }

    /// Whether acts may run and results may leave.
    pub fn may_sign(self) -> bool {
        matches!(self, Self::Normal | Self::Degraded)
    }
}

/// Conditions of the cluster. They are independent: a hold does not forget a dispute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conditions {
    pub(crate) degraded: bool,
    pub(crate) held: bool,
    pub(crate) disputed: bool,
    pub(crate) retired: bool,
}

/// The fold of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityState {
    pub(crate) cluster: Link,
    pub(crate) manifest: ClusterManifest,
    pub(crate) log: Frontier,
    pub(crate) last_event: Option<Link>,
    pub(crate) keys: BTreeMap<KeyId, KeyRecord>,
    pub(crate) sets: BTreeMap<SetName, ApproverSet>,
    pub(crate) fences: BTreeMap<NodeId, u64>,
    pub(crate) former: BTreeSet<NodeId>,
    pub(crate) conditions: Conditions,
}

// So that a vault or a store can keep the state itself and not only the log.
impl Artifact for AuthorityState {
    const SCHEMA: &'static str = "dvm/authority-state/1";
    const BYTES_MAX: usize = 4 * ARTIFACT_BYTES_MAX;
}

impl AuthorityState {
    /// The state before the first event.
    ///
    /// # Errors
    /// [`GuardRefused`] with rule `manifest` and the like, if the manifest is not well formed.
    pub fn genesis(manifest: &ClusterManifest) -> Result<Self, GuardRefused> {
        roster::check_manifest(manifest)?;
        let sets = manifest.approvers.iter().map(|s| (s.name.clone(), s.clone())).collect();
        Ok(Self {
            cluster: link_of(manifest),
            manifest: manifest.clone(),
            log: Frontier::default(),
            last_event: None,
            keys: BTreeMap::new(),
            sets,
            fences: BTreeMap::new(),
            former: BTreeSet::new(),
            conditions: Conditions::default(),
        })
    }

    /// The cluster's id: the link of its genesis manifest.
    pub fn cluster(&self) -> Link {
        self.cluster
    }

    /// The manifest as the log has amended it: current nodes, witnesses, governors, approvers and
    /// policy root. Its link is the cluster's id only before the first amendment.
    pub fn manifest(&self) -> &ClusterManifest {
        &self.manifest
    }

    /// The current head.
    pub fn head(&self) -> HeadRef {
        HeadRef { size: self.log.size(), root: self.log.root() }
    }

    /// The sequence number that the next event must have.
    pub fn next_seq(&self) -> u64 {
        self.log.size()
    }

    /// The link of the latest event.
    pub fn last_event(&self) -> Option<Link> {
        self.last_event
    }

    /// Every key, by id.
    pub fn keys(&self) -> &BTreeMap<KeyId, KeyRecord> {
        &self.keys
    }

    /// One key's record.
    pub fn key(&self, key_id: &KeyId) -> Option<&KeyRecord> {
        self.keys.get(key_id)
    }

    /// The current passport of a node.
    pub fn passport(&self, node: &NodeId) -> Option<&NodePassport> {
        self.manifest.passport(node)
    }

    /// The approver sets in force.
    pub fn sets(&self) -> &BTreeMap<SetName, ApproverSet> {
        &self.sets
    }

    /// The policy root in force.
    pub fn policy_root(&self) -> Link {
        self.manifest.policy_root
    }

    /// The highest fenced boot generation of a node; that boot and older ones are refused.
    pub fn fence(&self, node: &NodeId) -> Option<u64> {
        self.fences.get(node).copied()
    }

    /// What the cluster may do. The gravest condition shows.
    pub fn cluster_state(&self) -> ClusterState {
        let Conditions { degraded, held, disputed, retired } = self.conditions;
        match () {
            () if retired => ClusterState::Retired,
            () if self.log.size() == 0 => ClusterState::Forming,
            () if disputed => ClusterState::Disputed,
            () if held => ClusterState::Held,
            () if degraded => ClusterState::Degraded,
            () => ClusterState::Normal,
        }
    }
}
