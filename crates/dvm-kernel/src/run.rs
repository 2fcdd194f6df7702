//! A run of one intent in this kernel: one type per stage, each with only what exists then.
//!
//! Always true: an intent has one run; replacing its stage drops, and so wipes, what the stage before held.

use std::collections::BTreeMap;

use dvm_act::ParsedAct;
use dvm_core::authority::KeyReady;
use dvm_core::call::HeldRun;
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::run::{Open, RunHeader};
use dvm_core::{B32, Link, NodeId, Signed, limits};
use dvm_score::Plan;

use crate::authority::intent_link;
use crate::course::{Course, Peers};
use crate::held::{Gate, HeldRecord};
use crate::performance::{Inbox, Performance};
use crate::phase::Phase;
use crate::sighting::PeerMark;
use crate::stop::Stop;
use crate::store::{self, Kind};
use crate::vault::Vault;

/// A run.
pub(crate) struct Run {
    pub(crate) intent: CanonicalIntent,
    pub(crate) stage: Stage,
}

/// Where it is, with what exists there.
pub(crate) enum Stage {
    /// An opening is out.
    Admitted(Box<Admitted>),
    /// It performs levels; everything in here dies with the process.
    Running(Box<Running>),
    /// From Held to Published. Durable.
    Held(Box<HeldRecord>),
    /// Aborted or destroyed.
    Closed,
}

/// What an opening left.
pub(crate) struct Admitted {
    pub(crate) act: ParsedAct,
    pub(crate) open: Signed<Open>,
}

/// What a running act needs.
pub(crate) struct Running {
    pub(crate) header: RunHeader,
    pub(crate) header_link: Link,
    pub(crate) admission: Link,
    /// The size of the log when it started.
    pub(crate) since: u64,
    pub(crate) plan: Plan,
    pub(crate) course: Course,
    pub(crate) peers: Peers,
    pub(crate) backend: Backend,
    /// The public facts of the key that signs, or for which signatures are prepared.
    pub(crate) ready: Option<KeyReady>,
    /// The bytes to be signed.
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) performance: Performance,
    pub(crate) inbox: Inbox,
    /// Running digest of the secret microtrace.
    pub(crate) microtrace: B32,
    /// What openings and frames showed of the peers, not durable yet.
    pub(crate) raised: Vec<(NodeId, PeerMark)>,
}

impl Running {
    /// The other participants, in order.
    pub(crate) fn recipients(&self) -> Vec<NodeId> {
        self.peers.keys().cloned().collect()
    }
}

impl Run {
    /// What the vault still holds: results from Held on. Everything that was running is gone.
    pub(crate) fn survivors(vault: &mut Vault) -> Result<BTreeMap<Link, Self>, Stop> {
        let mut runs = BTreeMap::new();
        for (_, record) in store::load_all::<HeldRecord>(vault, Kind::Held)? {
            let link = intent_link(&record.intent);
            let run = Self { intent: record.intent.clone(), stage: Stage::Held(Box::new(record)) };
            runs.insert(link, run);
        }
        Ok(runs)
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Admitted(_) => Phase::Admitted,
            Stage::Running(_) => Phase::Running,
            Stage::Held(held) => held.gate.phase(),
            Stage::Closed => Phase::Closed,
        }
    }

    /// Whether this run, or the publication of what it holds, has this id.
    pub(crate) fn is(&self, execution_id: &B32) -> bool {
        match &self.stage {
            Stage::Running(running) => running.course.execution_id == *execution_id,
            Stage::Held(held) => {
                let publication = held.publication.as_ref().map(|p| p.course.execution_id);
                held.facts.execution_id == *execution_id || publication == Some(*execution_id)
            }
            Stage::Admitted(_) | Stage::Closed => false,
        }
    }

    /// Whether nothing can follow from it any more but a new opening: it ended, or its opening is too old to start.
    pub(crate) fn is_spent(&self, now_ms: u64) -> bool {
        match &self.stage {
            Stage::Closed => true,
            Stage::Admitted(admitted) => {
                let age_ms = now_ms.saturating_sub(admitted.open.body.time_ms);
                age_ms > limits::CLOCK_SKEW_MS_MAX
            }
            Stage::Running(_) | Stage::Held(_) => false,
        }
    }

    /// Bytes to be signed that it keeps in memory.
    pub(crate) fn content_bytes(&self) -> usize {
        match &self.stage {
            Stage::Admitted(admitted) => admitted.act.bytes_to_sign().map_or(0, <[u8]>::len),
            Stage::Running(running) => running.message.as_ref().map_or(0, Vec::len),
            Stage::Held(_) | Stage::Closed => 0,
        }
    }

    /// What `Status` says of it.
    pub(crate) fn held_run(&self) -> Option<HeldRun> {
        let Stage::Held(held) = &self.stage else { return None };
        (held.gate != Gate::Published).then(|| HeldRun {
            execution_id: held.facts.execution_id,
            intent: intent_link(&self.intent),
            result_ref: held.facts.result_ref(),
            phase: self.phase().name().to_owned(),
        })
    }
}
