//! What a failed check costs: the count towards freezing a key, the ban of whom it names, the signers that do not try again.
//!
//! Source: the design's kernel page, point 2 and "Evidence of misbehaviour".
//! Always true: what follows from a failure is in the draft that ends its run, so it is durable before anybody hears of
//! it; a ban is this kernel's own, and it rests on bytes that the culprit's kernel signed in that run; a banned node
//! signs with this kernel no more, in new runs and in those that were under way.
//! Not here: what other kernels think of the culprit.

use dvm_core::ReasonCode;
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_core::run::RunHeader;

use crate::Kernel;
use crate::ledger::{Lifted, Usage};
use crate::performance::Failure;
use crate::stop::Stop;
use crate::store::Draft;

impl Kernel {
    /// Counts a failed check of an intent's key, or bans whom it names from the key, with the draft that ends the run.
    /// Nobody is banned from key generation, nor kept from it: it has no key yet, and needs every holder.
    pub(crate) fn count_failure(
        &mut self,
        (intent, header): (&CanonicalIntent, &RunHeader),
        failure: &Failure,
        draft: &mut Draft,
    ) -> Result<(), Stop> {
        let state =
            &self.pinned.as_ref().ok_or_else(|| Stop::internal("no cluster is pinned"))?.state;
        let log_size = state.head().size;
        let mut usage = Usage::load(&mut self.vault, &intent.act)?;
        let signs = !matches!(intent.act, Act::KeyGenerate { .. });
        match failure {
            Failure::Unattributed => {
                usage.failed(log_size);
                if let (true, Some(record)) = (signs, state.key(intent.act.key_id())) {
                    usage.suspend(log_size, &header.participants, Lifted::of(record));
                }
            }
            Failure::Blamed(culprits) if signs => {
                for node in culprits {
                    usage.ban(log_size, node.clone());
                }
            }
            Failure::Blamed(_) | Failure::Barred(_) | Failure::Rule | Failure::Bug => {
                return Ok(());
            }
        }
        usage.save(draft, &intent.act);
        Ok(())
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

    /// Why a run that is under way may not go on, if so: one of its signers was banned in another one.
    pub(crate) fn barred(
        &mut self,
        intent: &CanonicalIntent,
        header: &RunHeader,
    ) -> Result<Option<Failure>, Stop> {
        let usage = Usage::load(&mut self.vault, &intent.act)?;
        let record = self.pinned()?.state.key(intent.act.key_id());
        let banned = record.is_some_and(|r| usage.bans(&header.participants, Lifted::of(r)));
        Ok(banned.then_some(Failure::Barred(ReasonCode::PartyBanned)))
    }
}
