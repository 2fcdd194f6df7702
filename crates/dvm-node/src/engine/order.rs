//! Governance order, first form: one sequencing node drafts events; members cosign; a quorum of
//! cosignatures makes an event effective. Behind this file's few functions another engine can order.
//!
//! Always true: an entry is on disk before anyone is asked to cosign it, so that after a crash the
//! same one is proposed again; and the node's authority moves only after its kernel's has.

use std::collections::{BTreeMap, VecDeque};

use dvm_core::authority::KeyReadyCertificate;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::codec;
use dvm_core::governance::{
    Cosignature, EventKind, HeadCertificate, HeadRef, LogEntry, SignedDecision,
};
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::Signed;
use dvm_governance as gov;

use super::operation::State;
use super::{ApiReply, Engine, Token, Want};
use crate::wire::PeerMessage;

/// Events waiting to be ordered at one node.
pub const QUEUE_MAX: usize = 256;
/// An entry that has not got its quorum is sent again this often.
const RESEND_MS: u64 = 500;

/// A wish for an event.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    kind: EventKind,
    decision: Option<SignedDecision>,
    key_ready: Option<KeyReadyCertificate>,
}

/// The entry that is being certified.
#[derive(Debug)]
pub(super) struct InFlight {
    pub entry: LogEntry,
    pub head: HeadRef,
    pub cosignatures: BTreeMap<NodeId, Cosignature>,
    pub sent_ms: u64,
}

/// What this node wants ordered, and what it is ordering.
#[derive(Debug, Default)]
pub(super) struct Ordering {
    queue: VecDeque<Wish>,
    pub current: Option<InFlight>,
    /// Sent to the sequencer, not yet in the log.
    wishes: Vec<(Wish, u64)>,
    waiting: Vec<(Token, Link, u64)>,
}

impl Engine {
    fn is_sequencer(&self) -> bool {
        self.manifest.sequencer == self.me
    }

    /// Wants this event in the log.
    pub(super) fn order(
        &mut self,
        kind: EventKind,
        decision: Option<SignedDecision>,
        key_ready: Option<KeyReadyCertificate>,
    ) {
        let wish = Wish { kind, decision, key_ready };
        if self.is_sequencer() {
            self.enqueue(wish);
        } else if self.ordering.wishes.len() < QUEUE_MAX {
            self.ordering.wishes.push((wish, 0));
            self.tick_ordering();
        }
    }

    fn enqueue(&mut self, wish: Wish) {
        let known = self.ordering.queue.contains(&wish);
        if known || self.ordering.queue.len() >= QUEUE_MAX {
            return;
        }
        self.ordering.queue.push_back(wish);
        self.pump();
    }

    pub(super) fn on_order(
        &mut self,
        kind: EventKind,
        decision: Option<SignedDecision>,
        key_ready: Option<KeyReadyCertificate>,
    ) {
        if self.is_sequencer() {
            self.enqueue(Wish { kind, decision, key_ready });
        }
    }

    /// A decision from the API: its events are ordered; the answer comes when they are effective.
    pub(super) fn api_decide(&mut self, token: Token, decision: SignedDecision) {
        if let Err(refused) = gov::check_decision(&self.authority, &decision) {
            return self.refuse(token, refused.code, format!("{refused}"));
        }
        let link = codec::link_of(&decision.decision);
        self.ordering.waiting.push((token, link, self.running_ms + 10_000));
        match decision.decision.transition.clone() {
            EventKind::KeyActivated { key_id } => {
                let authorized = EventKind::TransitionAuthorized { key_id };
                self.order(authorized, Some(decision), None);
            }
            kind => self.order(kind, Some(decision), None),
        }
    }

    /// Drafts the next wanted event, if none is on its way.
    pub(super) fn pump(&mut self) {
        let busy = self.ordering.current.is_some() || self.adopting || !self.kernel_ready;
        if busy || !self.is_sequencer() {
            return;
        }
        if self.authority.next_seq() == 0 && self.ordering.queue.is_empty() {
            let kind = EventKind::ClusterFormed { manifest: self.cluster };
            self.ordering.queue.push_back(Wish { kind, decision: None, key_ready: None });
        }
        while let Some(wish) = self.ordering.queue.pop_front() {
            let event = gov::draft_event(
                &self.authority,
                wish.kind,
                wish.decision.as_ref(),
                self.me.clone(),
            );
            let event = Signed::new(event, &self.policy_key);
            let decision = wish.decision.as_ref().map(|d| codec::link_of(&d.decision));
            let entry = LogEntry { event, decision: wish.decision, key_ready: wish.key_ready };
            match gov::apply(&self.authority, &entry) {
                Ok(next) => return self.propose_entry(entry, next.head()),
                Err(refused) => {
                    let subject = format!("{:?}", refused.rule);
                    self.log("event refused", subject, Some(refused.code));
                    self.answer_refused_decision(decision, &refused);
                }
            }
        }
    }

    /// Whoever waits for this decision learns at once that a guard refuses it.
    fn answer_refused_decision(&mut self, decision: Option<Link>, refused: &gov::GuardRefused) {
        let (waiting, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.ordering.waiting)
            .into_iter()
            .partition(|(_, link, _)| Some(*link) == decision);
        self.ordering.waiting = rest;
        for (token, _, _) in waiting {
            self.refuse(token, refused.code, format!("{refused}"));
        }
    }

    fn propose_entry(&mut self, entry: LogEntry, head: HeadRef) {
        self.save_pending_entry(&entry);
        let cosignatures = BTreeMap::new();
        self.ordering.current =
            Some(InFlight { entry: entry.clone(), head, cosignatures, sent_ms: self.running_ms });
        self.ask_cosignature(entry.clone());
        self.spread_to_members(&PeerMessage::Entry(Box::new(entry)));
    }

    fn ask_cosignature(&mut self, entry: LogEntry) {
        let call =
            KernelCall::Cosign { entry: Box::new(entry.clone()), time_s: self.now_ms / 1000 };
        self.ask(call, Want::Cosign { entry: Box::new(entry) });
    }

    fn spread_to_members(&mut self, message: &PeerMessage) {
        for member in self.manifest.members() {
            if member != self.me {
                self.send(&member, 0, message.clone());
            }
        }
    }

    /// The sequencer asks for a cosignature.
    pub(super) fn on_entry(&mut self, from: &NodeId, entry: LogEntry) {
        if *from != self.manifest.sequencer || !self.kernel_ready {
            return;
        }
        if entry.event.body.seq > self.authority.next_seq() {
            let from_seq = self.authority.next_seq();
            return self.send(from, 0, PeerMessage::FetchLog { from: from_seq });
        }
        self.ask_cosignature(entry);
    }

    /// This node's kernel cosigned.
    pub(super) fn on_cosigned(&mut self, entry: &LogEntry, reply: KernelReply) {
        let cosignature = match reply {
            KernelReply::Cosigned(cosignature) => cosignature,
            KernelReply::Refused { code, rule, .. } => {
                return self.log("kernel refused to cosign", rule, Some(code));
            }
            _ => return,
        };
        let Ok(next) = self.head_with(entry) else { return };
        if self.is_sequencer() {
            self.count_cosignature(next, cosignature);
        } else {
            let sequencer = self.manifest.sequencer.clone();
            self.send(&sequencer, 0, PeerMessage::Cosigned { head: next, cosignature });
        }
    }

    fn head_with(&self, entry: &LogEntry) -> Result<HeadRef, ReasonCode> {
        if self.authority.last_event() == Some(entry.event.link()) {
            return Ok(self.head());
        }
        gov::apply(&self.authority, entry).map(|s| s.head()).map_err(|e| e.code)
    }

    pub(super) fn count_cosignature(&mut self, head: HeadRef, cosignature: Cosignature) {
        let key = self.authority.manifest().cosign_key(&cosignature.member);
        let quorum = self.authority.manifest().quorum();
        let Some(current) = self.ordering.current.as_mut() else { return };
        let holds =
            key.is_some_and(|key| gov::cosignature_holds(&self.cluster, &head, key, &cosignature));
        if current.head != head || !holds {
            return;
        }
        current.cosignatures.insert(cosignature.member.clone(), cosignature);
        if current.cosignatures.len() < quorum || self.adopting {
            return;
        }
        let cosignatures = current.cosignatures.values().cloned().collect();
        let entry = current.entry.clone();
        let certificate = HeadCertificate { cluster: self.cluster, head, cosignatures };
        self.adopt_entries(vec![entry], certificate);
    }

    /// Certified entries from a peer.
    pub(super) fn on_certified(
        &mut self,
        from: &NodeId,
        entries: Vec<LogEntry>,
        certificate: HeadCertificate,
    ) {
        let next = self.authority.next_seq();
        let fresh: Vec<LogEntry> =
            entries.into_iter().filter(|e| e.event.body.seq >= next).collect();
        match fresh.first() {
            None => {}
            Some(first) if first.event.body.seq > next => {
                self.send(from, 0, PeerMessage::FetchLog { from: next });
            }
            Some(_) => self.adopt_entries(fresh, certificate),
        }
    }

    pub(super) fn adopt_entries(&mut self, entries: Vec<LogEntry>, certificate: HeadCertificate) {
        if self.adopting || !self.kernel_ready {
            return;
        }
        if let Err(refused) = gov::adopt(&self.authority, &entries, &certificate) {
            return self.log("certificate refused", "", Some(refused.code()));
        }
        self.adopting = true;
        let call = KernelCall::Adopt {
            entries: entries.clone(),
            certificate: Box::new(certificate.clone()),
        };
        self.ask(call, Want::Adopt { entries, certificate: Box::new(certificate) });
    }

    pub(super) fn on_adopted(
        &mut self,
        entries: Vec<LogEntry>,
        certificate: HeadCertificate,
        reply: KernelReply,
    ) {
        self.adopting = false;
        match reply {
            KernelReply::Head(head) if head == certificate.head => {}
            KernelReply::Refused { code, rule, .. } => {
                return self.log("kernel refused the log", rule, Some(code));
            }
            _ => return,
        }
        let Ok(next) = gov::adopt(&self.authority, &entries, &certificate) else { return };
        self.authority = next;
        self.save_log(&entries, &certificate);
        self.log.extend(entries.iter().cloned());
        self.certificate = Some(certificate.clone());
        if self.is_sequencer() {
            self.ordering.current = None;
            let message = PeerMessage::Certified {
                entries: entries.clone(),
                certificate: Box::new(certificate),
            };
            self.spread_to_members(&message);
            self.follow_up(&entries);
            self.pump();
        }
        self.head_moved();
    }

    /// An authorised activation is followed by the activation itself.
    fn follow_up(&mut self, entries: &[LogEntry]) {
        for entry in entries {
            if let EventKind::TransitionAuthorized { key_id } = &entry.event.body.kind {
                let kind = EventKind::KeyActivated { key_id: key_id.clone() };
                self.ordering.queue.push_front(Wish { kind, decision: None, key_ready: None });
            }
        }
    }

    /// What waits on authority is looked at again.
    fn head_moved(&mut self) {
        let authority = &self.authority;
        self.ordering.wishes.retain(|(wish, _)| match &wish.kind {
            EventKind::KeyObjectPublished { key_id, .. } => authority.key(key_id).is_none(),
            _ => wish.decision.is_some(),
        });
        let log = &self.log;
        let effective = |link: &Link| log.iter().any(|e| settles(&e.event.body, link));
        let (done, waiting) = std::mem::take(&mut self.ordering.waiting)
            .into_iter()
            .partition(|(_, link, _)| effective(link));
        self.ordering.waiting = waiting;
        self.ordering.wishes.retain(|(wish, _)| {
            wish.decision.as_ref().is_none_or(|d| !effective(&codec::link_of(&d.decision)))
        });
        let done: Vec<(Token, Link, u64)> = done;
        for (token, link, _) in done {
            let body = serde_json::json!({
                "decision": link.to_string(), "effective": true, "log_size": self.authority.next_seq(),
            });
            self.reply(token, ApiReply::Json(body));
        }
        let held: Vec<Link> = self
            .operations
            .iter()
            .filter(|(_, op)| op.state == State::Executed)
            .map(|(link, _)| *link)
            .collect();
        for link in held {
            self.try_gate(&link);
        }
    }

    pub(super) fn tick_ordering(&mut self) {
        let now = self.running_ms;
        self.pump();
        if let Some(current) = self.ordering.current.as_mut()
            && now >= current.sent_ms + RESEND_MS
        {
            current.sent_ms = now;
            let entry = current.entry.clone();
            self.ask_cosignature(entry.clone());
            self.spread_to_members(&PeerMessage::Entry(Box::new(entry)));
        }
        let sequencer = self.manifest.sequencer.clone();
        let mut messages = Vec::new();
        for (wish, sent_ms) in &mut self.ordering.wishes {
            if now >= *sent_ms + RESEND_MS {
                *sent_ms = now;
                messages.push(PeerMessage::Order {
                    kind: wish.kind.clone(),
                    decision: wish.decision.clone().map(Box::new),
                    key_ready: wish.key_ready.clone().map(Box::new),
                });
            }
        }
        for message in messages {
            self.send(&sequencer, 0, message);
        }
        let (late, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.ordering.waiting)
            .into_iter()
            .partition(|(_, _, until)| now >= *until);
        self.ordering.waiting = waiting;
        for (token, _, _) in late {
            let why = "the decision is not effective yet: too few members cosigned, or the sequencer is down";
            self.refuse(token, ReasonCode::RemoteTimeout, why);
        }
    }

    /// Entries from a sequence number on, with the certificate over this node's head.
    pub(super) fn on_fetch_log(&mut self, to: &NodeId, from: u64) {
        let Some(certificate) = self.certificate.clone() else { return };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        // The certificate covers the whole log, so a receiver that is further behind than one batch
        // gets everything it lacks; the message bound caps the log at about 10,000 events.
        let entries: Vec<LogEntry> = self.log.iter().skip(from).cloned().collect();
        if !entries.is_empty() {
            let message = PeerMessage::Certified { entries, certificate: Box::new(certificate) };
            self.send(to, 0, message);
        }
    }
}

/// Whether this event is the last that a decision asks for.
fn settles(event: &dvm_core::governance::Event, decision: &Link) -> bool {
    let last = !matches!(event.kind, EventKind::TransitionAuthorized { .. });
    last && event.decision_cid == Some(*decision)
}
