//! What the engine makes durable, and how it comes back.
//!
//! Keys: an intent's link; a run's id; run ‖ index for events; run ‖ direction ‖ level ‖ peer for
//! frames; the sequence number for log and chain. Values are artifacts.
//!
//! After a crash: an operation comes back in the state last written. Its act run went with the
//! kernel's memory unless the kernel still holds its result; then it goes on at the gate.

use dvm_core::admission::{AdmissionReceipt, PolicyReceipt, Verdict};
use dvm_core::bytes::{B32, Bytes};
use dvm_core::codec::{self, Artifact};
use dvm_core::frame::{Carried, Envelope};
use dvm_core::governance::{HeadCertificate, LogEntry};
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::{
    BanRecord, ChainEntry, PermitEvent, PermitReceipt, PublicationReceipt, PublishedResult,
};
use dvm_core::run::{Boot, Proposal};
use dvm_core::sign::Signed;
use dvm_core::trace::TraceEvent;
use dvm_governance as gov;
use serde::{Deserialize, Serialize};

use super::drive::Run;
use super::operation::{Operation, State};
use super::{Effect, Engine};
use crate::journal::{Table, Write};

/// Everything the journal held, by table, in key order.
#[derive(Default)]
pub struct Recovered {
    /// Operations.
    pub intents: Vec<Vec<u8>>,
    /// Run records.
    pub runs: Vec<Vec<u8>>,
    /// Trace events: (key, value).
    pub events: Vec<(Vec<u8>, Vec<u8>)>,
    /// Frames: (key, value).
    pub frames: Vec<(Vec<u8>, Vec<u8>)>,
    /// Governance log.
    pub log: Vec<Vec<u8>>,
    /// Receipt chain.
    pub chain: Vec<Vec<u8>>,
    /// Singletons: (key, value).
    pub meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The durable part of a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRecord {
    proposal: Proposal,
    permits: Vec<PermitEvent>,
    permit_receipt: Option<Signed<PermitReceipt>>,
    publications: Vec<Signed<PublicationReceipt>>,
    published: Option<Signed<PublishedResult>>,
    bans: Vec<Signed<BanRecord>>,
}

impl Artifact for RunRecord {
    const SCHEMA: &'static str = "dvm/run-record/2";
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventRecord(TraceEvent);

impl Artifact for EventRecord {
    const SCHEMA: &'static str = "dvm/event-record/1";
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BootRecord(Boot);

impl Artifact for BootRecord {
    const SCHEMA: &'static str = "dvm/boot-record/1";
}

const CERTIFICATE: &[u8] = b"certificate";
const PENDING_ENTRY: &[u8] = b"pending-entry";
const PEER_PREFIX: &[u8] = b"peer/";

fn put(table: Table, key: impl Into<Vec<u8>>, value: Vec<u8>) -> Write {
    Write::Put { table, key: key.into(), value }
}

pub(super) fn event_key(run: &B32, index: usize) -> Vec<u8> {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    [&run.0[..], &index.to_be_bytes()].concat()
}

pub(super) fn frame_key(run: &B32, sent: bool, level: u16, peer: &NodeId) -> Vec<u8> {
    [&run.0[..], &[u8::from(sent)], &level.to_be_bytes(), peer.as_str().as_bytes()].concat()
}

/// What is written once per input, as it is when the input is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// An operation.
    Operation(Link),
    /// A run's record.
    Run(B32),
}

/// Whether a frame still has all that it said: what is said in private is not kept over a restart.
pub(super) fn is_whole(envelope: &Envelope) -> bool {
    envelope.private.payloads.len() == envelope.private.leaf.parts.len()
}

/// A frame without what it said to its recipient alone; the names of that stay.
fn without_private(envelope: &Envelope) -> Envelope {
    let private = Carried { payloads: Vec::new(), ..envelope.private.clone() };
    Envelope { private, ..envelope.clone() }
}

impl Engine {
    pub(super) fn write(&mut self, writes: Vec<Write>) {
        self.written += 1;
        self.out.push(Effect::Write(writes));
    }

    /// Keeps a place for something that is written when the input is done. All writes of an input become
    /// durable together, so its last content may stand where its first was due.
    fn owe(&mut self, what: Owed) {
        if self.owed.iter().all(|(_, owed)| *owed != what) {
            self.owed.push((self.out.len(), what));
            self.write(Vec::new());
        }
    }

    /// Fills the places that were kept.
    pub(super) fn settle(&mut self) {
        for (place, what) in std::mem::take(&mut self.owed) {
            let due = match what {
                Owed::Operation(link) => self.operation_write(&link),
                Owed::Run(run_id) => self.run_write(&run_id),
            };
            if let Some(Effect::Write(writes)) = self.out.get_mut(place) {
                writes.extend(due);
            }
        }
    }

    /// Effects were put in front of this place.
    pub(super) fn shift_owed(&mut self, from: usize, by: usize) {
        for (place, _) in self.owed.iter_mut().filter(|(place, _)| *place >= from) {
            *place += by;
        }
    }

    /// An operation as it is when this input is done.
    pub(super) fn save(&mut self, link: &Link) {
        if self.operations.contains_key(link) {
            self.owe(Owed::Operation(*link));
        }
    }

    fn operation_write(&self, link: &Link) -> Option<Write> {
        let op = self.operations.get(link)?;
        Some(put(Table::Intents, link.to_bytes(), codec::encode(op)))
    }

    pub(super) fn set_state(&mut self, link: &Link, state: State, codes: Vec<ReasonCode>) {
        let Some(op) = self.operations.get_mut(link) else { return };
        let before = std::mem::replace(&mut op.state, state);
        op.codes = codes;
        if !matches!(state, State::PendingRemote | State::Aborted) {
            op.missing.clear();
        }
        match state {
            State::Opening | State::Published => self.settle_limits(link, true),
            State::Denied | State::Discarded | State::Expired => self.settle_limits(link, false),
            _ => {}
        }
        self.save(link);
        self.count_end(link, before, state);
        let code = self.operations.get(link).and_then(|op| op.codes.first().copied());
        self.log(state.event(), link.to_string(), code);
    }

    pub(super) fn set_codes(&mut self, link: &Link, codes: Vec<ReasonCode>) {
        let Some(op) = self.operations.get_mut(link) else { return };
        if op.codes != codes {
            op.codes = codes;
            self.save(link);
        }
    }

    /// One more serial durable write behind this operation.
    pub(super) fn count_commit(&mut self, link: &Link) -> u32 {
        let Some(op) = self.operations.get_mut(link) else { return 0 };
        op.commits += 1;
        op.commits
    }

    pub(super) fn raise_commits(&mut self, link: &Link, commits: u32) {
        if let Some(op) = self.operations.get_mut(link) {
            op.commits = op.commits.max(commits);
        }
    }

    /// The proposal of a run, before anything of it happens.
    pub(super) fn save_proposal(&mut self, run_id: &B32) {
        self.save_run(run_id);
    }

    fn save_run(&mut self, run_id: &B32) {
        if self.runs.contains_key(run_id) {
            self.owe(Owed::Run(*run_id));
        }
    }

    fn run_write(&self, run_id: &B32) -> Option<Write> {
        let run = self.runs.get(run_id)?;
        let record = RunRecord {
            proposal: run.proposal.clone(),
            permits: run.permits.clone(),
            permit_receipt: run.permit_receipt.clone(),
            publications: run.publications.clone(),
            published: run.published.clone(),
            bans: run.bans.clone(),
        };
        Some(put(Table::Executions, run_id.0, codec::encode(&record)))
    }

    /// One recorded event, with the frame that it came in.
    pub(super) fn save_event(&mut self, run_id: &B32, index: usize) {
        let Some(run) = self.runs.get(run_id) else { return };
        let Some(event) = run.events.get(index) else { return };
        let mut writes = vec![put(
            Table::TraceEvents,
            event_key(run_id, index),
            codec::encode(&EventRecord(event.clone())),
        )];
        if let TraceEvent::Frame(fact) = event {
            let (level, from) = (fact.header.body.level, &fact.header.body.from);
            if let Some(envelope) = run.received.get(&(level, from.clone())) {
                let key = frame_key(run_id, false, level, from);
                writes.push(put(Table::Outbox, key, self.kept(run, envelope)));
            }
        }
        self.write(writes);
    }

    /// A frame as the journal keeps it. A signature's one-time material goes with the kernel, and the kernel with this
    /// process: what was said in private for it is of no use after a restart, and it is most of the bytes. Evidence
    /// needs the broadcasts; whoever misses the rest signs anew.
    fn kept(&self, run: &Run, envelope: &Envelope) -> Vec<u8> {
        let makes_key =
            self.operations.get(&run.intent).is_some_and(|op| op.intent.act.makes_key());
        if makes_key || run.ctx.publishes() || envelope.private.payloads.is_empty() {
            return codec::encode(envelope);
        }
        codec::encode(&without_private(envelope))
    }

    /// What a level gave: permits and own frames.
    pub(super) fn save_level(&mut self, run_id: &B32, level: Option<u16>) {
        self.save_run(run_id);
        let Some(run) = self.runs.get(run_id) else { return };
        let frames = level.and_then(|l| run.sent.get(&l).map(|f| (l, f)));
        let writes: Vec<Write> = frames
            .into_iter()
            .flat_map(|(l, frames)| frames.iter().map(move |f| (l, f)))
            .map(|(l, f)| put(Table::Outbox, frame_key(run_id, true, l, &f.to), self.kept(run, f)))
            .collect();
        self.write(writes);
    }

    /// Appends a receipt on an operation to this node's gapless chain, after the last one on it.
    fn chain_receipt(&mut self, link: &Link, receipt: Link) {
        let last = self.operations.get(link).and_then(|op| op.receipts.last());
        let same_intent = last.and_then(|seq| self.chain_entry(*seq)).map(Signed::link);
        let seq = self.chain_place(receipt, same_intent);
        if let Some(op) = self.operations.get_mut(link) {
            op.receipts.push(seq);
        }
    }

    /// The place in the chain that a receipt is given.
    fn chain_place(&mut self, receipt: Link, same_intent: Option<Link>) -> u64 {
        let prev = self.chain.last().map(Signed::link);
        let seq = self.chain.len() as u64;
        let (cluster, node) = (self.cluster, self.me.clone());
        let entry = ChainEntry { cluster, node, seq, prev, same_intent, receipt };
        let entry = Signed::new(entry, &self.policy_key);
        let value = codec::encode(&entry);
        self.chain.push(entry);
        self.write(vec![put(Table::Chain, seq.to_be_bytes(), value)]);
        seq
    }

    /// A place in the chain.
    pub(super) fn chain_entry(&self, seq: u64) -> Option<&Signed<ChainEntry>> {
        self.chain.get(usize::try_from(seq).ok()?)
    }

    pub(super) fn record_verdict(
        &mut self,
        link: &Link,
        receipt: Signed<AdmissionReceipt>,
        private: &PolicyReceipt,
    ) {
        let block = codec::block_of(private);
        self.write(vec![put(Table::Receipts, block.link.to_bytes(), block.bytes.0)]);
        self.chain_receipt(link, receipt.link());
        if let Some(op) = self.operations.get_mut(link) {
            op.admissions.push(receipt);
        }
        self.save(link);
    }

    pub(super) fn record_permit_receipt(
        &mut self,
        link: &Link,
        run_id: &B32,
        receipt: Signed<PermitReceipt>,
    ) {
        self.chain_receipt(link, receipt.link());
        if let Some(run) = self.runs.get_mut(run_id) {
            run.permit_receipt = Some(receipt);
        }
        self.save_run(run_id);
        self.save(link);
    }

    pub(super) fn record_publication(
        &mut self,
        link: &Link,
        run_id: &B32,
        receipt: Signed<PublicationReceipt>,
    ) {
        let act_run = receipt.body.facts.execution_id;
        let held = self.runs.get(&act_run).is_some_and(|run| run.permit_receipt.is_some());
        if !held {
            // The end of a result whose own record a crash took: no bundle could show what it follows.
            let place = self.chain_place(receipt.link(), None);
            return self.log("receipt without its run", format!("{link} {place}"), None);
        }
        self.chain_receipt(link, receipt.link());
        if let Some(run) = self.runs.get_mut(run_id) {
            run.publications.push(receipt);
        }
        self.save_run(run_id);
        self.save(link);
    }

    pub(super) fn record_grant(
        &mut self,
        link: &Link,
        run_id: &B32,
        receipt: Signed<PublicationReceipt>,
    ) {
        if self.runs.get(run_id).is_some_and(|run| !run.publications.contains(&receipt)) {
            self.record_publication(link, run_id, receipt);
        }
    }

    pub(super) fn record_published(
        &mut self,
        link: &Link,
        run_id: &B32,
        result: Signed<PublishedResult>,
    ) {
        if let Some(run) = self.runs.get_mut(run_id) {
            run.published = Some(result);
        }
        self.save_run(run_id);
        self.save(link);
    }

    /// Signs the TraceRoot of a run that ended here.
    pub(super) fn sign_trace_root(&mut self, run_id: &B32) {
        let Some(root) = self.trace_root(run_id) else { return };
        let link = root.link();
        if let Some(run) = self.runs.get_mut(run_id) {
            run.trace_root = Some(link);
        }
        self.count_run(run_id);
        self.drop_private(run_id);
        let value = codec::encode(&root);
        self.write(vec![put(Table::Blocks, link.to_bytes(), value)]);
    }

    pub(super) fn trace_root(&self, run_id: &B32) -> Option<Signed<dvm_core::trace::TraceRoot>> {
        let run = self.runs.get(run_id)?;
        let root = dvm_vm::trace_root(&run.ctx, &run.vm, &run.events);
        Some(Signed::new(root, &self.policy_key))
    }

    pub(super) fn save_pending_entry(&mut self, entry: &LogEntry) {
        self.write(vec![put(Table::Meta, PENDING_ENTRY, codec::encode(entry))]);
    }

    pub(super) fn save_log(&mut self, entries: &[LogEntry], certificate: &HeadCertificate) {
        let mut writes = vec![
            put(Table::Meta, CERTIFICATE, codec::encode(certificate)),
            Write::Delete { table: Table::Meta, key: PENDING_ENTRY.to_vec() },
        ];
        for entry in entries {
            let key = entry.event.body.seq.to_be_bytes();
            writes.push(put(Table::GovLog, key, codec::encode(entry)));
        }
        self.write(writes);
    }

    pub(super) fn save_peer(&mut self, node: &NodeId) {
        let Some(boot) = self.peers.get(node).and_then(|p| p.boot) else { return };
        let key = [PEER_PREFIX, node.as_str().as_bytes()].concat();
        self.write(vec![put(Table::Meta, key, codec::encode(&BootRecord(boot)))]);
    }

    /// Takes up what the journal held.
    pub(super) fn recover(&mut self, found: Recovered) -> Result<(), ReasonCode> {
        let torn = |_| ReasonCode::LogInconsistent;
        self.recover_log(&found)?;
        for bytes in &found.chain {
            self.chain.push(codec::decode(bytes).map_err(torn)?);
        }
        for bytes in &found.intents {
            let op: Operation = codec::decode(bytes).map_err(torn)?;
            let slot = (op.intent.tenant.clone(), op.intent.idempotency_key.clone());
            self.by_key.insert(slot, op.link());
            self.recover_limits(&op);
            self.operations.insert(op.link(), op);
        }
        for bytes in &found.runs {
            let record: RunRecord = codec::decode(bytes).map_err(torn)?;
            self.recover_run(record);
        }
        self.recover_frames(&found)?;
        self.recover_events(&found)?;
        let live = self.operations.values().filter(|op| !op.state.is_final());
        self.before_start = live.filter_map(|op| op.act_run).collect();
        Ok(())
    }

    fn recover_log(&mut self, found: &Recovered) -> Result<(), ReasonCode> {
        let torn = |_| ReasonCode::LogInconsistent;
        for (key, value) in &found.meta {
            if key == CERTIFICATE {
                self.certificate = Some(codec::decode(value).map_err(torn)?);
            }
            if let Some(node) = key.strip_prefix(PEER_PREFIX) {
                let boot: BootRecord = codec::decode(value).map_err(torn)?;
                let name = std::str::from_utf8(node).ok().and_then(|n| n.parse::<NodeId>().ok());
                if let Some(peer) = name.and_then(|n| self.peers.get_mut(&n)) {
                    peer.boot = Some(boot.0);
                }
            }
        }
        let entries: Result<Vec<LogEntry>, _> =
            found.log.iter().map(|b| codec::decode(b)).collect();
        self.log = entries.map_err(torn)?;
        if let Some(certificate) = &self.certificate {
            self.authority =
                gov::adopt(&self.authority, &self.log, certificate).map_err(|e| e.code())?;
        }
        let pending = found.meta.iter().find(|(k, _)| k == PENDING_ENTRY);
        if let Some((_, value)) = pending {
            let entry: LogEntry = codec::decode(value).map_err(torn)?;
            if let Ok(next) = gov::apply(&self.authority, &entry) {
                self.ordering.current = Some(super::order::InFlight {
                    entry,
                    head: next.head(),
                    cosignatures: Default::default(),
                    sent_ms: 0,
                });
            }
        }
        Ok(())
    }

    fn recover_run(&mut self, record: RunRecord) {
        let intent = record.proposal.header.intent;
        let Some(op) = self.operations.get(&intent) else { return };
        let Some(backend) = self.backend_of(&op.intent.act) else { return };
        let Some(mut run) = Run::new(self, &op.intent, backend, record.proposal) else { return };
        run.permits = record.permits;
        run.permit_receipt = record.permit_receipt;
        run.publications = record.publications;
        run.published = record.published;
        run.bans = record.bans;
        self.count_bans(run.bans.len());
        for ban in run.bans.clone() {
            self.note_ban(&ban.body.key_id, ban.body.key_epoch, &ban.body.culprit);
        }
        self.runs.insert(run.ctx.execution_id(), run);
    }

    fn recover_frames(&mut self, found: &Recovered) -> Result<(), ReasonCode> {
        for (key, value) in &found.frames {
            let envelope: Envelope =
                codec::decode(value).map_err(|_| ReasonCode::LogInconsistent)?;
            let sent = key.get(32) == Some(&1);
            let header = &envelope.header.body;
            let (level, from) = (header.level, header.from.clone());
            let Some(run) = self.runs.get_mut(&header.execution_id) else { continue };
            if sent {
                run.sent.entry(level).or_default().push(envelope);
            } else {
                run.received.insert((level, from), envelope);
            }
        }
        Ok(())
    }

    fn recover_events(&mut self, found: &Recovered) -> Result<(), ReasonCode> {
        for (key, value) in &found.events {
            let event: EventRecord =
                codec::decode(value).map_err(|_| ReasonCode::LogInconsistent)?;
            let id = key.get(..32).and_then(B32::from_slice).unwrap_or_default();
            let Some(run) = self.runs.get_mut(&id) else { continue };
            if let Ok(taken) = dvm_vm::resume(&run.ctx, &mut run.vm, &event.0) {
                run.events.push(event.0);
                run.emitted = run.emitted.max(taken.emit.unwrap_or(0));
            }
        }
        let ended: Vec<B32> = self
            .runs
            .iter()
            .filter(|(_, r)| r.vm.terminal().is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            if let Some(run) = self.runs.get_mut(&id) {
                let root = dvm_vm::trace_root(&run.ctx, &run.vm, &run.events);
                run.trace_root = Some(codec::link_of(&root));
            }
        }
        Ok(())
    }

    /// Puts an operation's place back into the ledger.
    fn recover_limits(&mut self, op: &Operation) {
        let counted = op.intent.act.publishes();
        let allowed = op.admission().filter(|a| counted && a.body.verdict == Verdict::Allow);
        let Some(receipt) = allowed else { return };
        let (key_id, link, at_ms) = (op.intent.act.key_id(), op.link(), receipt.body.time_ms);
        // Already admitted once, so no cap applies to putting it back.
        let put_back = self.ledger.reserve(key_id, link, u32::MAX, at_ms);
        let revealed = matches!(op.state, State::Opening | State::Published);
        if put_back.is_ok() && revealed {
            self.settle_limits(&link, true);
        }
    }

    /// Commits this operation's place in the ledger, or returns it if nothing was revealed here.
    pub(super) fn settle_limits(&mut self, link: &Link, revealed: bool) {
        let Some(op) = self.operations.get(link) else { return };
        let key_id = op.intent.act.key_id();
        // Nothing to settle is the ordinary case for an operation that was never admitted here.
        let _ = if revealed {
            self.ledger.commit(key_id, link, self.now_ms)
        } else {
            self.ledger.give_back(key_id, link)
        };
    }

    /// The published result of an operation, if there is one.
    pub(super) fn result_of(&self, link: &Link) -> Option<&Bytes> {
        self.operations.get(link).and_then(|op| op.result.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::early::tests::frame;

    #[test]
    fn a_frame_is_whole_until_what_it_said_in_private_is_left_out() {
        let sent = frame("n1", 1, 100);
        let kept = without_private(&sent);
        assert!(is_whole(&sent) && !is_whole(&kept));
        assert!(codec::encode(&kept).len() + 100 <= codec::encode(&sent).len());
        assert_eq!((&kept.header, &kept.broadcast), (&sent.header, &sent.broadcast));
        assert_eq!(kept.private.leaf, sent.private.leaf);
        // Nothing said, nothing lost.
        let mut silent = sent;
        silent.private.leaf.parts.clear();
        silent.private.payloads.clear();
        assert!(is_whole(&without_private(&silent)));
    }
}
