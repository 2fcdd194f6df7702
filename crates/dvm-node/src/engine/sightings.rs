//! What kernels saw of each other, carried between them: so that a restored or copied vault is found when its node
//! connects, and its operator sees it.
//!
//! Source: the kernel page, "Rollback and clones"; docs/decisions/0008.
//! Always true: the engine believes none of it. Kernels judge; a node that hides what it was told is found at the next
//! start of a run, by the openings in it.

use dvm_core::bytes::B32;
use dvm_core::call::{Attestation, KernelCall, KernelReply};
use dvm_core::ids::NodeId;
use dvm_core::reason::ReasonCode;
use dvm_core::sighting::{FencingRecord, Sighting};
use dvm_core::sign::Signed;

use super::{Engine, Want};
use crate::wire::PeerMessage;

impl Engine {
    /// A peer's kernel shows itself: the own kernel looks at it as soon as it works.
    pub(super) fn sight(&mut self, from: &NodeId, attestation: Signed<Attestation>) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.attestation = Some(attestation);
        self.sight_pending();
    }

    /// Brings the own kernel every attestation that it was not shown.
    pub(super) fn sight_pending(&mut self) {
        if !self.kernel_ready {
            return;
        }
        let taken = |(node, peer): (&NodeId, &mut super::Peer)| {
            Some((node.clone(), peer.attestation.take()?))
        };
        let pending: Vec<_> = self.peers.iter_mut().filter_map(taken).collect();
        for (node, attestation) in pending {
            let call = KernelCall::Sight { node: node.clone(), attestation: Box::new(attestation) };
            self.ask(call, Want::Sight { node });
        }
    }

    /// The own kernel has judged a peer's boot. The peer is told what was seen of it, whatever the verdict.
    pub(super) fn on_sighted(&mut self, node: &NodeId, reply: KernelReply) {
        let (sighting, refused) = match reply {
            KernelReply::Sighted { sighting, refused } => (sighting, refused),
            KernelReply::Refused { code, rule, .. } => {
                return self.log("hello refused", format!("{node} {rule}"), Some(code));
            }
            _ => return,
        };
        let Some(peer) = self.peers.get_mut(node) else { return };
        let news = peer.refused != refused;
        peer.refused = refused;
        if refused.is_none() && peer.boot != Some(sighting.body.to) {
            peer.boot = Some(sighting.body.to);
            self.save_peer(node);
        }
        self.send(node, 0, PeerMessage::Sighting(sighting));
        if refused.is_some() {
            if news {
                self.log("peer's kernel is refused", node.to_string(), refused);
            }
            self.ask(KernelCall::Fence { record: None }, Want::Fences);
        }
    }

    /// A peer's kernel says what it had seen of this node's.
    pub(super) fn on_sighting(&mut self, from: &NodeId, sighting: Box<Signed<Sighting>>) {
        // A kernel that does not work yet will greet everybody when it does, and be told then.
        if self.kernel_ready && sighting.body.by == *from {
            self.ask(KernelCall::Show { sighting }, Want::Show { by: from.clone() });
        }
    }

    pub(super) fn on_shown(&mut self, by: &NodeId, reply: KernelReply) {
        match reply {
            KernelReply::Shown => self.go_on_beside(by),
            // All is said once; a copy of this node draws sightings of its own for as long as it runs.
            KernelReply::Refused { .. } if self.has_stopped() => {}
            KernelReply::Refused { code: ReasonCode::SplitBrainFenced, rule, .. } => {
                self.log("this node is fenced", rule, Some(ReasonCode::SplitBrainFenced));
                self.ask_standing();
            }
            KernelReply::Refused { code, rule, .. } => {
                self.log("sighting refused", format!("{by} {rule}"), Some(code));
            }
            _ => {}
        }
    }

    /// The kernel goes on with what it held before a restart once the other signers have spoken.
    fn go_on_beside(&mut self, by: &NodeId) {
        let Some(peer) = self.peers.get_mut(by) else { return };
        if std::mem::replace(&mut peer.spoken, true) {
            return;
        }
        let waits = |run: &super::Run| {
            let live = run.started && run.vm.terminal().is_none();
            live && run.ctx.publishes() && run.ctx.participants().contains(by)
        };
        let waiting = self.runs.iter().filter(|(_, run)| waits(run)).map(|(id, _)| *id);
        for run in waiting.collect::<Vec<B32>>() {
            self.resume_level(&run);
        }
    }

    fn has_stopped(&self) -> bool {
        self.attestation.as_ref().is_some_and(|a| a.body.stopped.is_some())
    }

    /// The kernel stopped for good. Once its own word says so there is nothing more to ask, or to tell anybody.
    fn ask_standing(&mut self) {
        if !self.has_stopped() {
            self.ask(KernelCall::Attest, Want::Standing);
        }
    }

    /// The kernel's word on itself has changed: everybody hears it.
    pub(super) fn on_standing(&mut self, reply: KernelReply) {
        let KernelReply::Attested(attestation) = reply else { return };
        self.attestation = Some(*attestation);
        for node in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.hello(&node);
        }
    }

    /// Evidence that some node's kernel runs twice.
    pub(super) fn on_fencing(&mut self, record: Box<FencingRecord>) {
        if self.kernel_ready && !self.fences.contains(&record) {
            self.ask(KernelCall::Fence { record: Some(record) }, Want::Fences);
        }
    }

    /// What the own kernel keeps of such evidence. What is new goes to everybody: it convinces by itself.
    pub(super) fn on_fences(&mut self, reply: KernelReply) {
        let records = match reply {
            KernelReply::Fences(records) => records,
            KernelReply::Refused { code, rule, .. } => {
                return self.log("fencing record refused", rule, Some(code));
            }
            _ => return,
        };
        let known = std::mem::replace(&mut self.fences, records.clone());
        for record in records.into_iter().filter(|record| !known.contains(record)) {
            let fenced = Some(ReasonCode::SplitBrainFenced);
            self.log("node is fenced", record.node.to_string(), fenced);
            if record.node == self.me {
                self.ask_standing();
            } else if let Some(peer) = self.peers.get_mut(&record.node) {
                peer.refused = fenced;
            }
            for node in self.peers.keys().cloned().collect::<Vec<_>>() {
                self.send(&node, 0, PeerMessage::Fencing(Box::new(record.clone())));
            }
        }
    }

    /// A run that the kernel refused over a boot: the next try goes on without the others of it.
    pub(super) fn leave_boots_out(&mut self, run: &super::Run) {
        if let Some(gathering) = self.gathering.get_mut(&run.intent) {
            gathering.excluded.extend(run.ctx.others().cloned());
        }
        self.ask(KernelCall::Fence { record: None }, Want::Fences);
    }
}
