//! A hostile runtime: it holds its node's policy key and drives its own, honest kernel against the rules.
//!
//! What a kernel enforces must hold below it: the judge goes on trusting the kernel.

use dvm_core::Signed;
use dvm_core::admission::{AdmissionReceipt, Verdict};
use dvm_core::call::KernelCall;

use crate::cast;
use crate::coverage::Kind;
use crate::plan::Lie;
use crate::world::{Halt, World};

/// Old calls kept to be made again.
const MEMORY_MAX: usize = 60;

/// What a hostile runtime remembers.
#[derive(Default)]
pub(crate) struct Memory {
    calls: Vec<KernelCall>,
}

impl World {
    /// What the runtime asks instead of its engine's next call; none if it plays along.
    pub(crate) fn hostile_call(&mut self, node: usize) -> Result<Option<KernelCall>, Halt> {
        let hostile = self.liar.as_ref().is_some_and(|l| l.node == node && l.lie == Lie::Runtime);
        if !hostile {
            return Ok(None);
        }
        let Some(call) = self.hosts.get(node).and_then(|h| h.calls.front()) else {
            return Ok(None);
        };
        let call = (*call.call).clone();
        if self.hostile.calls.len() < MEMORY_MAX {
            self.hostile.calls.push(call.clone());
        }
        if !self.liar.as_mut().is_some_and(|l| l.lies()) {
            return Ok(None);
        }
        self.coverage.took_effect(Kind::HostileRuntime);
        let now_ms = self.now_ms;
        self.story.fault(now_ms, node, Kind::HostileRuntime);
        if let Some(extra) = self.extra_call(node, &call) {
            self.watch_call(node, &extra);
            if let Some((reply, made)) = self.host(node)?.call(extra.clone(), now_ms) {
                self.watch_reply(node, &extra, &reply, made)?;
            }
        }
        Ok(self.forged(node, call))
    }

    /// A call besides: an old one again, or an opening before its time.
    fn extra_call(&mut self, node: usize, call: &KernelCall) -> Option<KernelCall> {
        let dice = &mut self.liar.as_mut()?.dice;
        let old = self.hostile.calls.get(dice.index(self.hostile.calls.len())).cloned();
        match (dice.below(4), old?) {
            (0, _) => self.early_opening(call),
            (1, KernelCall::Open { intent, content, admission, approvals: _ }) => {
                let admission = Box::new(self.allowing(node, &admission));
                let approvals = self.signed_approvals.clone();
                Some(KernelCall::Open { intent, content, admission, approvals })
            }
            (2, old) => Some(old),
            (_, KernelCall::Step { execution_id, level, calls, mut frames }) => {
                frames.clear();
                Some(KernelCall::Step { execution_id, level, calls, frames })
            }
            _ => None,
        }
    }

    /// Level 2 of a publication without anybody's frames, or with those of another level.
    fn early_opening(&self, call: &KernelCall) -> Option<KernelCall> {
        match call {
            KernelCall::OpenResult { execution_id, level, calls, frames } => {
                let mut frames = frames.clone();
                frames.pop();
                let (execution_id, level, calls) = (*execution_id, *level, calls.clone());
                Some(KernelCall::OpenResult { execution_id, level, calls, frames })
            }
            KernelCall::Grant { execution_id, calls, .. } => Some(KernelCall::OpenResult {
                execution_id: *execution_id,
                level: 2,
                calls: calls.clone(),
                frames: Vec::new(),
            }),
            _ => None,
        }
    }

    /// The engine's own call with what its people and its policy did not say.
    fn forged(&mut self, node: usize, call: KernelCall) -> Option<KernelCall> {
        match call {
            KernelCall::Grant { execution_id, calls, judgement, .. } => {
                let judgement = Box::new(self.allowing(node, &judgement));
                let approvals = self.signed_approvals.clone();
                Some(KernelCall::Grant { execution_id, calls, judgement, approvals })
            }
            KernelCall::Open { intent, content, admission, .. } => {
                let admission = Box::new(self.allowing(node, &admission));
                let approvals = self.signed_approvals.clone();
                Some(KernelCall::Open { intent, content, admission, approvals })
            }
            _ => None,
        }
    }

    fn allowing(
        &self,
        node: usize,
        receipt: &Signed<AdmissionReceipt>,
    ) -> Signed<AdmissionReceipt> {
        let mut body = receipt.body.clone();
        body.verdict = Verdict::Allow;
        body.codes.clear();
        let name = cast::NODES.get(node).copied().unwrap_or("n1");
        Signed::new(body, &cast::key(&format!("{name}/policy")))
    }
}
