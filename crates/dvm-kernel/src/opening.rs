//! Granted → Opening → Closed: levels 2 and 3 of a publication. Here, and nowhere else, a result share leaves.
//!
//! Source: the design's life of a signature, step 6.
//! Always true: a share leaves only when every other participant's kernel has granted the same result at the head that
//! this kernel has; the phase is Opening on disk before the share leaves; what left is said again only in the same
//! bytes. A crash between the commit and the reply costs nothing: the same call gives the stored reply.

use std::collections::BTreeMap;

use dvm_blame::ecdsa::{NoncePoint, SignatureTerms};
use dvm_blame::{Roster, SuiteGroupKey, key_below};
use dvm_core::admission::Verdict;
use dvm_core::authority::KeyReady;
use dvm_core::call::KernelReply;
use dvm_core::codec::{self, link_of};
use dvm_core::frame::FrameHeader;
use dvm_core::receipt::{PermitEvent, PublicationReceipt, PublishedResult};
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed, digest};
use dvm_governance::fenced;
use dvm_score::{MicroOp, Plan, Step};
use zeroize::Zeroizing;

use crate::authority::{Pinned, intent_link};
use crate::bans::Failed;
use crate::course::{Asked, Heard, Peers};
use crate::gate::{Verdicts, repeated};
use crate::held::{Gate, HeldRecord, Holding, key_share_id};
use crate::ledger::{self, IntentMark};
use crate::level::{Output, Request, Word};
use crate::performance::Failure;
use crate::phase::Verb;
use crate::sighting::{PeerMark, save_marks};
use crate::start::{compiled, publication_peers};
use crate::stop::{Stop, ensure};
use crate::store::{Draft, Kind};
use crate::{Answer, Kernel};

/// The level in which shares leave, and the one that puts them together.
const OPEN: u16 = 2;
const CONFIRM: u16 = 3;

/// One level of a publication, judged and ready.
struct Ready {
    record: HeldRecord,
    plan: Plan,
    peers: Peers,
    heard: Heard,
    events: Vec<PermitEvent>,
    raised: Vec<(NodeId, PeerMark)>,
}

impl Kernel {
    pub(crate) fn open_result(
        &mut self,
        execution_id: B32,
        request: Request,
        now_ms: u64,
    ) -> Answer {
        let Request { level, calls, frames } = request;
        let (held, publication) = self.publication(&execution_id)?;
        held.gate.phase().allows(Verb::OpenResult)?;
        ensure(
            matches!(level, OPEN | CONFIRM),
            ReasonCode::WrongPhase,
            "shares open in levels 2 and 3",
        )?;
        let plan = compiled(&publication.header, &held.intent, held.backend)?;
        let pinned = self.pinned()?;
        let peers = publication_peers(pinned, &self.others, &publication.header.participants)?;
        let before = level.saturating_sub(1);
        let heard = publication.course.hear(&plan, &pinned.node, &peers, (before, frames))?;
        let events = match publication.course.ask(&plan, level, &calls, &heard)? {
            Asked::Again => return repeated(&publication.replies, level),
            Asked::Elsewhere => {
                return Err(Stop::refused(
                    ReasonCode::StepPermitReused,
                    "a consumed permit in another context",
                ));
            }
            Asked::Next(events) => events,
        };
        self.refuse_unseen(peers.keys())?;
        let raised = self.others.raised_by(pinned, heard.headers.clone())?;
        let ready = Ready { record: held.clone(), plan, peers, heard, events, raised };
        let raised = ready.raised.clone();
        let reply = if level == OPEN {
            self.open_share(ready, now_ms)
        } else {
            self.confirm(ready, now_ms)
        }?;
        // Frames of a level that failed were not taken, so they raised nothing.
        if matches!(&reply, KernelReply::Level(level) if level.header.is_some()) {
            raised.into_iter().for_each(|mark| self.others.set(mark));
        }
        Ok(reply)
    }

    /// Level 2: with all grants, the share leaves.
    fn open_share(&mut self, ready: Ready, now_ms: u64) -> Answer {
        let Ready { mut record, plan, peers, heard, events, raised } = ready;
        check_grants(self.pinned()?, &record, &plan, (&peers, &heard))?;
        let intent = intent_link(&record.intent);
        ledger::refuse_tombstoned(&mut self.vault, &record.intent)?;
        if record.is_expired(now_ms) {
            // Granted in time and asked for too late: as if nobody had granted.
            let granted = record.publication.as_ref().and_then(|p| p.grant.as_ref());
            let judgement = granted.and_then(|g| g.body.judgement);
            let words = Verdicts::destroyed(judgement, ReasonCode::Expired);
            return self.refuse_at_gate(intent, words, ReasonCode::Expired, now_ms);
        }
        let said = match &record.holding {
            Holding::Signature { .. } => Bytes(record.share(&mut self.vault)?.to_vec()),
            Holding::Key { ready } => {
                Bytes(codec::encode(&Signed::new(ready.clone(), self.identity.signer())))
            }
        };
        let mut output = Output::default();
        for event in &events {
            output.say(event, Word { broadcast: Some(said.clone()), ..Word::default() });
        }
        let mut draft = self.draft();
        save_marks(&mut draft, &raised);
        let mut mark = IntentMark::load(&mut self.vault, &intent)?;
        mark.opened_result = true;
        mark.save(&mut draft, &intent);
        let reply = self.sign_level(&mut record, (&plan, heard, events), output, &mut draft)?;
        if let Some(publication) = &mut record.publication {
            publication.replies.push(reply.clone());
        }
        // Opening on disk first: from here on nobody can say that this signature does not exist.
        self.keep(record, (Verb::OpenResult, Gate::Opening), draft)?;
        Ok(KernelReply::Level(Box::new(reply)))
    }

    /// Level 3: every share is checked, the result verified under the key, and said by every kernel alike.
    fn confirm(&mut self, ready: Ready, now_ms: u64) -> Answer {
        let Ready { mut record, plan, peers, heard, events, raised } = ready;
        let own = self.pinned()?.node.clone();
        let put_together = match &record.holding {
            Holding::Signature { ready, .. } => {
                let message = record.message(&mut self.vault)?;
                let share = record.share(&mut self.vault)?;
                let shares = payloads(&plan, MicroOp::OpenShare, &heard);
                let key = self.group_keys.of(ready.backend.into(), &ready.package);
                key.map_err(|_| Failure::Bug).and_then(|key| {
                    signature((&record, &key), (own.as_str(), &share), shares, &message)
                })
            }
            Holding::Key { ready } => key_fact(ready, &plan, &peers, &heard),
        };
        let mut draft = self.draft();
        let result = match put_together {
            Ok(result) => result,
            Err(failure) => {
                let met = (events.as_slice(), heard.headers.as_slice());
                return self.failed_opening((record, draft), met, failure, now_ms);
            }
        };
        save_marks(&mut draft, &raised);
        let mut output = Output::default();
        let steps: Vec<&Step> = plan.at_level(CONFIRM).collect();
        for (step, event) in steps.iter().zip(&events) {
            let word = match step.op {
                MicroOp::Confirm => Word {
                    broadcast: Some(Bytes(digest::sha256(&result).0.to_vec())),
                    ..Word::default()
                },
                _ => Word { public: Some(result.clone()), ..Word::default() },
            };
            output.say(event, word);
        }
        let mut reply = self.sign_level(&mut record, (&plan, heard, events), output, &mut draft)?;
        reply.published = Some(self.published(&record, result)?);
        if let Holding::Key { ready } = &record.holding {
            reply.key_ready = Some(Signed::new(ready.clone(), self.identity.signer()));
            let share = Zeroizing::new(record.share(&mut self.vault)?.to_vec());
            draft.put_secret(Kind::KeyShare, &key_share_id(&ready.key_id, &link_of(ready)), share);
        }
        record.wipe(&mut draft);
        if let Some(publication) = &mut record.publication {
            publication.replies.push(reply.clone());
        }
        self.keep(record, (Verb::OpenResult, Gate::Published), draft)?;
        Ok(KernelReply::Level(Box::new(reply)))
    }

    fn published(
        &self,
        record: &HeldRecord,
        result: Bytes,
    ) -> Result<Signed<PublishedResult>, Stop> {
        let pinned = self.pinned()?;
        let publication = record.publication.as_ref();
        let grant = publication.and_then(|p| p.grant.as_ref());
        let (Some(publication), Some(grant)) = (publication, grant) else {
            return Err(Stop::internal("a result without a grant"));
        };
        let published = PublishedResult {
            cluster: pinned.cluster(),
            node: pinned.node.clone(),
            execution_id: publication.course.execution_id,
            intent: intent_link(&record.intent),
            grant: grant.link(),
            result_ref: record.facts.result_ref(),
            result,
        };
        Ok(Signed::new(published, self.identity.signer()))
    }

    /// A check failed: counted or its cheater banned, durably, before it is said. The run stays in Opening, for this
    /// kernel's share is out: a named cheater may have put the signature together by itself, so the intent is never
    /// performed again here, and the next one goes without the cheater.
    fn failed_opening(
        &mut self,
        (mut record, mut draft): (HeldRecord, Draft),
        (events, heard): (&[PermitEvent], &[Signed<FrameHeader>]),
        failure: Failure,
        now_ms: u64,
    ) -> Answer {
        let (code, blame) = failure.told();
        let mut output = Output::default();
        if let Some(event) = events.first() {
            output.fail(event, code, blame);
        }
        let mut reply = dvm_core::call::LevelReply {
            results: output.results,
            permits: events.to_vec(),
            ..crate::level::empty()
        };
        // Once per result, for its frames can be brought again and again: also after governors lifted what it cost.
        let failed = Failed {
            intent: &record.intent,
            header: &record.header,
            key: Some(record.ready()),
            event: events.first(),
            heard,
        };
        reply.bans = match record.failed {
            true => self.bans_told(&failed, &failure)?,
            false => self.count_failure(&failed, &failure, &mut draft, now_ms)?,
        };
        record.failed |= matches!(failure, Failure::Blamed(_) | Failure::Unattributed);
        let gate = record.gate;
        self.keep(record, (Verb::OpenResult, gate), draft)?;
        Ok(KernelReply::Level(Box::new(reply)))
    }
}

fn op_step(plan: &Plan, op: MicroOp) -> Option<u16> {
    plan.steps.iter().find(|s| s.op == op).map(|s| s.index)
}

/// What the others said in a step, by sender.
fn payloads(plan: &Plan, op: MicroOp, heard: &Heard) -> BTreeMap<String, Vec<u8>> {
    let Some(index) = op_step(plan, op) else { return BTreeMap::new() };
    let of_step = heard.payloads.iter().filter(|((step, _), _)| *step == index);
    of_step.map(|((_, from), bytes)| (from.as_str().to_owned(), bytes.to_vec())).collect()
}

/// Every other participant's kernel said yes, to this result, in this publication, at this head.
fn check_grants(
    pinned: &Pinned,
    record: &HeldRecord,
    plan: &Plan,
    (peers, heard): (&Peers, &Heard),
) -> Result<(), Stop> {
    let bad = |rule| Stop::refused(ReasonCode::BindingMismatch, rule);
    let publication = record.publication.as_ref();
    let own = publication
        .and_then(|p| p.grant.as_ref())
        .ok_or_else(|| bad("this kernel did not grant"))?;
    let head = pinned.state.head();
    ensure(
        own.body.head == head,
        ReasonCode::StaleEpoch,
        "the head moved since this kernel granted",
    )?;
    let step = op_step(plan, MicroOp::GateGrant).ok_or_else(|| bad("the plan has no gate"))?;
    for (node, peer) in peers {
        let said =
            heard.payloads.get(&(step, node.clone())).ok_or_else(|| bad("a grant is missing"))?;
        let grant: Signed<PublicationReceipt> =
            codec::decode(said).map_err(|_| bad("a payload is no grant"))?;
        let body = grant
            .verify(peer.passport.kernel_key)
            .map_err(|_| bad("a grant is not signed by its node's kernel"))?;
        ensure(
            body.verdict == Verdict::Allow && !body.destroyed,
            ReasonCode::PublicationDenied,
            "a participant did not grant",
        )?;
        ensure(body.head == head, ReasonCode::StaleEpoch, "a grant at another head")?;
        let fence = fenced(&pinned.state, node, body.boot.generation);
        ensure(!fence, ReasonCode::SplitBrainFenced, "a grant by a fenced boot")?;
        let expected = PublicationReceipt {
            node: node.clone(),
            boot: body.boot,
            vault_seq: body.vault_seq,
            permit: body.permit,
            judgement: body.judgement,
            approvals: body.approvals.clone(),
            time_ms: body.time_ms,
            ..own.body.clone()
        };
        ensure(*body == expected, ReasonCode::BindingMismatch, "a grant of something else")?;
    }
    Ok(())
}

/// Adds the shares up and verifies the signature under the key, with a library that had no part in making it.
fn signature(
    (record, key): (&HeldRecord, &SuiteGroupKey),
    (me, share): (&str, &[u8]),
    mut shares: BTreeMap<String, Vec<u8>>,
    message: &[u8],
) -> Result<Bytes, Failure> {
    let Holding::Signature { ready, commitments } = &record.holding else {
        return Err(Failure::Bug);
    };
    shares.insert(me.to_owned(), share.to_vec());
    if let SuiteGroupKey::Secp256k1(_) = key {
        return ecdsa_signature(record, ready, &shares, message);
    }
    let commitments =
        commitments.iter().map(|c| (c.node.as_str().to_owned(), c.bytes.to_vec())).collect();
    let signature = dvm_blame::aggregate(key, &commitments, message, &shares)?;
    Ok(Bytes(signature.to_vec()))
}

/// The same for ECDSA: under the key at the act's path, with the nonce that the grants named.
fn ecdsa_signature(
    record: &HeldRecord,
    ready: &KeyReady,
    shares: &BTreeMap<String, Vec<u8>>,
    message: &[u8],
) -> Result<Bytes, Failure> {
    let derived = key_below(ready, record.intent.act.path())?;
    let nodes = record.header.participants.iter().map(NodeId::as_str);
    let terms = SignatureTerms {
        signers: &Roster::new(nodes).map_err(|_| Failure::Bug)?,
        public_key: derived.public_key(),
        nonce: &NoncePoint::decode(&record.facts.public_nonce).ok_or(Failure::Bug)?,
        digest: message.try_into().map_err(|_| Failure::Bug)?,
    };
    Ok(Bytes(terms.combine(shares)?.to_vec()))
}

/// Every holder's kernel stated the same facts.
fn key_fact(ready: &KeyReady, plan: &Plan, peers: &Peers, heard: &Heard) -> Result<Bytes, Failure> {
    let step = op_step(plan, MicroOp::OpenKey).ok_or(Failure::Bug)?;
    for (node, peer) in peers {
        let blamed = || Failure::Blamed(vec![node.clone()]);
        let said = heard.payloads.get(&(step, node.clone())).ok_or_else(blamed)?;
        let fact: Signed<KeyReady> = codec::decode(said).map_err(|_| blamed())?;
        let body = fact.verify(peer.passport.kernel_key).map_err(|_| blamed())?;
        if body != ready {
            return Err(blamed());
        }
    }
    Ok(Bytes(link_of(ready).to_bytes()))
}
