//! What a failed check costs: the count towards freezing a key, the ban of whom it names, the signers that do not try again.
//!
//! Source: the design's kernel page, point 2 and "Evidence of misbehaviour".
//! Always true: what follows from a failure is in the draft that ends its run, so it is durable before anybody hears of
//! it; a ban is this kernel's own, and it rests on bytes that the culprit's kernel signed in that run; a banned node
//! signs with this kernel no more, in new runs and in those that were under way. An event that lifts the ban lets new runs
//! begin: the old ones hold what the ban ended.
//! Not here: what other kernels think of the culprit.

use dvm_core::authority::KeyReady;
use dvm_core::frame::FrameHeader;
use dvm_core::intent::CanonicalIntent;
use dvm_core::receipt::{BanRecord, PermitEvent};
use dvm_core::run::RunHeader;
use dvm_core::{NodeId, ReasonCode, Signed};

use crate::Kernel;
use crate::ledger::{Lifted, Usage};
use crate::pairs::PairId;
use crate::performance::Failure;
use crate::run::Running;
use crate::stop::Stop;
use crate::store::{self, Draft, Kind};

/// A run whose check failed, as far as it matters for what follows.
pub(crate) struct Failed<'a> {
    pub(crate) intent: &'a CanonicalIntent,
    /// The act run's.
    pub(crate) header: &'a RunHeader,
    /// The key that signs, or that is about to be published.
    pub(crate) key: Option<&'a KeyReady>,
    /// The permit of the step that failed.
    pub(crate) event: Option<&'a PermitEvent>,
    /// What the others' kernels had signed: the level before.
    pub(crate) heard: &'a [Signed<FrameHeader>],
}

fn ban_id(failed: &Failed<'_>, culprit: &NodeId) -> Vec<u8> {
    let act = &failed.intent.act;
    format!("{}/{}/{culprit}", act.key_id(), act.key_epoch()).into_bytes()
}

impl Kernel {
    /// Counts a failed check of an intent's key, or bans whom it names from the key and ends the pairs with them, with
    /// the draft that ends the run. Nobody is banned from key generation, nor kept from it: it has no key yet, and needs
    /// every holder.
    pub(crate) fn count_failure(
        &mut self,
        failed: &Failed<'_>,
        failure: &Failure,
        draft: &mut Draft,
        now_ms: u64,
    ) -> Result<Vec<Signed<BanRecord>>, Stop> {
        let act = &failed.intent.act;
        let log_size = self.pinned()?.state.head().size;
        let mut usage = Usage::load(&mut self.vault, act)?;
        let mut bans = Vec::new();
        match failure {
            Failure::Unattributed => {
                usage.failed(log_size);
                let record = self.pinned()?.state.key(act.key_id());
                if let (Some(record), false) = (record, act.makes_key()) {
                    usage.suspend(log_size, &failed.header.participants, Lifted::of(record));
                    self.stash.forget_signers(act.key_id(), &failed.header.participants);
                }
            }
            Failure::Blamed(culprits) if !act.makes_key() => {
                for culprit in culprits {
                    usage.ban(log_size, culprit.clone());
                    self.stash.forget_signer(act.key_id(), culprit);
                    self.end_pair(failed, culprit, draft);
                    bans.extend(self.ban_record(failed, culprit, draft, now_ms)?);
                }
            }
            Failure::Blamed(_)
            | Failure::Barred(_)
            | Failure::OtherSetUp
            | Failure::Rule
            | Failure::Bug => return Ok(bans),
        }
        usage.save(draft, act);
        Ok(bans)
    }

    /// What two kernels share for a key is of no use once one of them cheated: every further run would tell it more.
    fn end_pair(&mut self, failed: &Failed<'_>, culprit: &NodeId, draft: &mut Draft) {
        let Some(key) = failed.key else { return };
        let pair = PairId { made_by: key.execution_id, peer: culprit.clone() };
        pair.delete(draft);
        self.pairs.forget(&pair);
    }

    /// This kernel's word on a ban, for evidence. There is none for what no frame of the culprit's was needed for, such as
    /// a sealing key that nothing can be sealed to.
    fn ban_record(
        &self,
        failed: &Failed<'_>,
        culprit: &NodeId,
        draft: &mut Draft,
        now_ms: u64,
    ) -> Result<Option<Signed<BanRecord>>, Stop> {
        let said = failed.heard.iter().find(|header| header.body.from == *culprit);
        let (Some(said), Some(event)) = (said, failed.event) else { return Ok(None) };
        let pinned = self.pinned()?;
        let context = &event.context;
        let record = BanRecord {
            cluster: pinned.cluster(),
            node: pinned.node.clone(),
            boot: self.boot,
            vault_seq: draft.next_seq(),
            key_id: failed.intent.act.key_id().clone(),
            key_epoch: failed.intent.act.key_epoch(),
            culprit: culprit.clone(),
            execution_id: context.execution_id,
            level: context.level,
            step: context.step,
            header: said.link(),
            time_ms: now_ms,
        };
        let signed = Signed::new(record, self.identity.signer());
        draft.put(Kind::Ban, &ban_id(failed, culprit), &signed);
        Ok(Some(signed))
    }

    /// What this kernel said before of the same failure.
    pub(crate) fn bans_told(
        &mut self,
        failed: &Failed<'_>,
        failure: &Failure,
    ) -> Result<Vec<Signed<BanRecord>>, Stop> {
        let (Failure::Blamed(culprits), Some(event)) = (failure, failed.event) else {
            return Ok(Vec::new());
        };
        let mut told = Vec::new();
        for culprit in culprits {
            let id = ban_id(failed, culprit);
            let kept: Option<Signed<BanRecord>> = store::load(&mut self.vault, Kind::Ban, &id)?;
            told.extend(kept.filter(|ban| ban.body.execution_id == event.context.execution_id));
        }
        Ok(told)
    }

    /// Refuses signers with whom this kernel does not sign.
    pub(crate) fn refuse_signers(&mut self, header: &RunHeader) -> Result<(), Stop> {
        let Some(run) = self.runs.get(&header.intent) else { return Ok(()) };
        let usage = Usage::load(&mut self.vault, &run.intent.act)?;
        match self.pinned()?.state.key(run.intent.act.key_id()) {
            Some(record) => usage.may_sign(&header.participants, Lifted::of(record)),
            None => Ok(()),
        }
    }

    /// Why a run that is under way may not go on, if so: one of its signers was banned in another one since it began.
    pub(crate) fn barred(
        &mut self,
        intent: &CanonicalIntent,
        running: &Running,
    ) -> Result<Option<Failure>, Stop> {
        let usage = Usage::load(&mut self.vault, &intent.act)?;
        // None that was banned before it began could begin it.
        let banned = usage.caught_since(running.since, &running.header.participants);
        Ok(banned.then_some(Failure::Barred(ReasonCode::PartyBanned)))
    }
}
