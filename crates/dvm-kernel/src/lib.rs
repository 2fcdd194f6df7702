//! The secret kernel: the one process that holds shares, nonces, permits and the gate.
//!
//! What: [`Kernel::handle`] takes one call and gives one reply. The same code runs in its own sandboxed process behind
//! [`serve`] and in-process in tests and the simulator; wall time and randomness are its [`Surroundings`].
//! Source: the design's kernel page.
//! Always true:
//! - the kernel believes nothing that it can derive or verify: it parses the act, recompiles the plan, checks every
//!   signature, view, floor and head itself;
//! - a call that is refused changed nothing, in memory and on disk, but what evidence did: a receipt at the gate, a ban,
//!   a fencing record; and that material which a proposal names for something else is gone;
//! - what a reply says is durable before the reply exists;
//! - no result share leaves before every participant's kernel has granted.
//!
//! Not here: policy, transport, the order of governance events. A compromised node can delay; it cannot do more than
//! the floor allows.

pub mod attest;
pub mod clock;
pub mod options;
pub mod pipe;
pub mod sandbox;
pub mod seal;
pub mod serve;
pub mod unseal;
pub mod vault;

mod authority;
mod bans;
mod course;
mod deny;
mod gate;
mod group_keys;
mod hedge;
mod held;
mod identity;
mod ledger;
mod level;
mod open;
mod opening;
mod pairs;
mod performance;
pub mod phase;
mod publish;
mod run;
mod sighting;
mod start;
mod stash;
mod step;
mod stop;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::call::{Attestation, KernelCall, KernelReply, Layers};
use dvm_core::run::Boot;
use dvm_core::{B32, Link, NodeId, ReasonCode, Signed, digest};
use rand_core::CryptoRngCore;

use crate::authority::Pinned;
use crate::clock::Clock;
use crate::group_keys::GroupKeys;
use crate::identity::Identity;
use crate::pairs::Pairs;
use crate::run::Run;
use crate::sighting::Others;
use crate::stash::Stash;
use crate::stop::Stop;
use crate::store::Draft;
use crate::vault::Vault;

/// What the kernel cannot make itself: randomness and wall time.
pub struct Surroundings {
    /// The random source. The operating system's, or a seeded one in the simulator.
    pub rng: Box<dyn CryptoRngCore + Send>,
    /// Milliseconds since the epoch. May jump; the kernel's own clock does not run backwards.
    pub wall_ms: Box<dyn FnMut() -> u64 + Send>,
}

/// What this process is, as far as it can tell.
#[derive(Clone, Debug)]
pub struct About {
    /// sha2-256 of its binary.
    pub binary: B32,
    /// Which isolation layers hold.
    pub layers: Layers,
}

/// Why a kernel did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The vault's content does not fold: a record is damaged, or the log in it breaks a rule.
    #[error("the vault does not hold together: {rule}")]
    Inconsistent {
        /// Which rule.
        rule: String,
    },
    /// The vault could not be read or written.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
}

impl From<Stop> for StartError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(error) => Self::Vault(error),
            Stop::Refused { rule, .. } => Self::Inconsistent { rule: rule.to_owned() },
            Stop::AtTheGate { .. } | Stop::Contradiction(_) => {
                Self::Inconsistent { rule: "no such refusal at a start".to_owned() }
            }
        }
    }
}

/// The version that the attestation shows.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A running kernel.
pub struct Kernel {
    vault: Vault,
    identity: Identity,
    boot: Boot,
    clock: Clock,
    around: Surroundings,
    about: About,
    pinned: Option<Pinned>,
    group_keys: GroupKeys,
    pairs: Pairs,
    stash: Stash,
    others: Others,
    /// Whose kernels have said, to this boot, what they saw of this one.
    shown: BTreeSet<NodeId>,
    /// Whether this kernel must never speak for its node again.
    ended: bool,
    /// One run per intent.
    runs: BTreeMap<Link, Run>,
}

type Answer = Result<KernelReply, Stop>;

impl Kernel {
    /// Takes the vault over, folds the log in it again, and finds what survived.
    ///
    /// # Errors
    /// [`StartError`]; nothing is served then.
    pub fn start(
        mut vault: Vault,
        mut around: Surroundings,
        about: About,
    ) -> Result<Self, StartError> {
        let clock = Clock::resume(vault.clock_high_ms());
        let identity = Identity::load_or_create(&mut vault, &mut *around.rng)?;
        let pinned = Pinned::load(&mut vault)?;
        let others = Others::load(&mut vault)?;
        let ended = sighting::has_ended(&mut vault)?;
        let runs = Run::survivors(&mut vault)?;
        let boot = Boot { generation: vault.boot_gen(), id: digest::sha256(&vault.boot_id()) };
        sighting::record_boot(&mut vault, boot, clock.high_ms())?;
        let shown = BTreeSet::new();
        let (group_keys, pairs, stash) = (GroupKeys::default(), Pairs::default(), Stash::default());
        Ok(Self {
            vault,
            identity,
            boot,
            clock,
            around,
            about,
            pinned,
            group_keys,
            pairs,
            stash,
            others,
            shown,
            ended,
            runs,
        })
    }

    /// One call, one reply.
    pub fn handle(&mut self, call: KernelCall) -> KernelReply {
        let stop = match self.dispatch(call) {
            Ok(reply) => return reply,
            Err(stop) => stop,
        };
        if matches!(stop, Stop::Fault(_)) {
            // A vault in doubt does nothing any more: what was read from it has no use.
            (self.pairs, self.stash) = (Pairs::default(), Stash::default());
        }
        if let Stop::Contradiction(record) = &stop
            && let Err(fault) = self.keep_fence((**record).clone())
        {
            return fault.into_reply();
        }
        stop.into_reply()
    }

    /// Durable commits of this start.
    pub fn commits(&self) -> u64 {
        self.vault.commits()
    }

    fn dispatch(&mut self, call: KernelCall) -> Answer {
        self.refuse_if_ended(&call)?;
        let now_ms = self.now_ms();
        match call {
            KernelCall::Attest => Ok(self.attest()),
            KernelCall::Pin { manifest, node } => self.pin(&manifest, node),
            KernelCall::Cosign { entry, time_s } => self.cosign(&entry, time_s, now_ms),
            KernelCall::Adopt { entries, certificate } => self.adopt(entries, &certificate, now_ms),
            KernelCall::Open { intent, content, admission, approvals } => self.open(
                open::Request { intent: *intent, content, admission: *admission, approvals },
                now_ms,
            ),
            KernelCall::Start { proposal, frames } => match proposal.header.kind {
                dvm_core::run::RunKind::Act { .. } => self.start_act(*proposal, &frames, now_ms),
                dvm_core::run::RunKind::Publish { .. } => self.start_publication(*proposal, frames),
            },
            KernelCall::Step { execution_id, level, calls, frames } => {
                self.step(execution_id, level::Request { level, calls, frames }, now_ms)
            }
            KernelCall::Grant { execution_id, calls, judgement, approvals } => self.grant(
                execution_id,
                &calls,
                &gate::Case { judgement: *judgement, approvals },
                now_ms,
            ),
            KernelCall::OpenResult { execution_id, level, calls, frames } => {
                self.open_result(execution_id, level::Request { level, calls, frames }, now_ms)
            }
            KernelCall::Abort { execution_id, code } => self.abort(execution_id, code, now_ms),
            KernelCall::Deny { denial } => self.deny(*denial, now_ms),
            KernelCall::Status => {
                self.tidy_stash(now_ms);
                Ok(self.status())
            }
            KernelCall::Sight { node, attestation } => self.sight(&node, *attestation),
            KernelCall::Show { sighting } => self.show(*sighting),
            KernelCall::Fence { record } => self.fence(record.map(|r| *r)),
            KernelCall::Probe(kind) => serve::probe(kind),
        }
    }

    /// The kernel's own clock: never backwards, durable with every commit.
    fn now_ms(&mut self) -> u64 {
        let wall_ms = (self.around.wall_ms)();
        self.clock.now_ms(wall_ms)
    }

    fn attest(&self) -> KernelReply {
        let attestation = Attestation {
            kernel_key: self.identity.public_key(),
            sealing_key: self.identity.sealing_key(),
            boot: self.boot,
            vault_seq: self.vault.vault_seq(),
            binary: self.about.binary,
            version: VERSION.to_owned(),
            layers: self.about.layers.clone(),
            head: self.pinned.as_ref().map(|p| p.state.head()),
            stopped: self.ended.then_some(ReasonCode::SplitBrainFenced),
        };
        KernelReply::Attested(Box::new(Signed::new(attestation, self.identity.signer())))
    }

    fn pinned(&self) -> Result<&Pinned, Stop> {
        self.pinned
            .as_ref()
            .ok_or_else(|| Stop::refused(ReasonCode::GuardRefused, "no cluster is pinned"))
    }

    fn draft(&self) -> Draft {
        Draft::new(&self.vault)
    }

    fn commit(&mut self, draft: Draft) -> Result<(), Stop> {
        draft.commit(&mut self.vault, self.clock.high_ms())
    }

    fn draw(&mut self) -> B32 {
        let mut bytes = B32::default();
        self.around.rng.fill_bytes(&mut bytes.0);
        bytes
    }

    fn status(&self) -> KernelReply {
        let held = self.runs.values().filter_map(Run::held_run).collect();
        KernelReply::Status { held, stash: self.stash.described() }
    }
}
