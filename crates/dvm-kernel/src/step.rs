//! Running → Running, and Held at the last level, or Closed where it fills the stash: one level of an act run.
//!
//! Source: the design's kernel page, points 4 to 6; the VM page's crash rules.
//! Always true: frames, views and permits are judged before anything secret moves; all of a level is durable in one
//! transaction before its reply exists; a level that failed ends the run. A crash anywhere in here loses the run's
//! one-time material with the process, which costs one attempt and no secret.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::authority::KeyReady;
use dvm_core::call::{KernelReply, LevelReply};
use dvm_core::codec::{self, Artifact, link_of};
use dvm_core::digest::{Domain, Tagged};
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_core::receipt::{PermitEvent, PermitReceipt, ResultFacts};
use dvm_core::{B32, Bytes, Link, NodeId, ReasonCode, Signed, limits, merkle};
use dvm_microcode::Secret;
use dvm_score::{Effect, MicroOp, PhaseKind, Step};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::bans::Failed;
use crate::course::{Asked, Heard, boots_of};
use crate::hedge::Hedged;
use crate::held::{Commitment, Gate, HeldRecord, Holding};
use crate::level::{self, Output, Place, Request, Word};
use crate::pairs::PairId;
use crate::performance::{Failure, Made, Said};
use crate::phase::{Phase, Verb};
use crate::run::{Run, Running, Stage};
use crate::seal;
use crate::sighting::save_marks;
use crate::stash::{Batch, mark_taken};
use crate::stop::{Stop, ensure};
use crate::store::{Draft, Kind};
use crate::{Answer, Kernel};

/// The permits that one level consumed, as the vault keeps them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelPermits {
    pub(crate) events: Vec<PermitEvent>,
}

impl Artifact for LevelPermits {
    const SCHEMA: &'static str = "dvm/kernel-level-permits/1";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}

/// Writes a level's permits, and one marker for each step that consumes one-time material: a second lock, which the
/// commit refuses to set twice.
pub(crate) fn mark_consumed(draft: &mut Draft, steps: &[Step], events: &[PermitEvent]) {
    let Some(first) = events.first() else { return };
    let id =
        |number: u16| [first.context.execution_id.0.as_slice(), &number.to_be_bytes()].concat();
    let permits = LevelPermits { events: events.to_vec() };
    draft.insert_new(Kind::Permits, &id(first.context.level), codec::encode(&permits));
    for step in steps.iter().filter(|s| s.effect == Effect::Consume) {
        draft.insert_new(Kind::Consumed, &id(step.index), step.index.to_be_bytes().to_vec());
    }
}

/// What a run came to, not yet durable.
enum Finished {
    /// A result, which is held.
    Result(Box<Holdable>),
    /// Material, which goes into the stash.
    Batch(Box<Batch>),
}

/// What a finished run holds, not yet durable.
struct Holdable {
    record: HeldRecord,
    share: Zeroizing<Vec<u8>>,
    /// Of a key: the set-ups with its other holders.
    pairs: BTreeMap<String, Secret<Vec<u8>>>,
}

impl Kernel {
    pub(crate) fn step(&mut self, execution_id: B32, request: Request, now_ms: u64) -> Answer {
        let link = self.find(&execution_id)?;
        let Some(run) = self.runs.get(&link) else { return Err(Stop::internal("no run")) };
        run.phase().allows(Verb::Step)?;
        let Stage::Running(running) = &run.stage else {
            return Err(Stop::refused(ReasonCode::WrongPhase, "the run does not perform levels"));
        };
        ensure(running.course.execution_id == execution_id, ReasonCode::NotFound, "no such run")?;
        let Request { level, calls, frames } = request;
        let me = &self.pinned()?.node;
        let before = level.saturating_sub(1);
        let heard = running.course.hear(&running.plan, me, &running.peers, (before, frames))?;
        match running.course.ask(&running.plan, level, &calls, &heard)? {
            Asked::Again => {
                Err(Stop::refused(ReasonCode::StepPermitReused, "these permits are consumed"))
            }
            Asked::Elsewhere => {
                // Somebody tries to make consumed material serve twice: nothing of this run may go on.
                self.end_run(link, ReasonCode::MaterialPoisoned, now_ms)?;
                Err(Stop::refused(
                    ReasonCode::StepPermitReused,
                    "a consumed permit in another context; the run is poisoned",
                ))
            }
            Asked::Next(events) => {
                let raised = self.others.raised_by(self.pinned()?, heard.headers.clone())?;
                // Out of the table while it is worked on: if the commit fails, it and its secrets are gone.
                let Some(run) = self.runs.remove(&link) else {
                    return Err(Stop::internal("no run"));
                };
                let Run { intent, stage: Stage::Running(mut running) } = run else {
                    return Err(Stop::internal("the run does not perform levels"));
                };
                raised.iter().cloned().for_each(|mark| self.others.set(mark));
                running.raised.extend(raised);
                self.perform_level((intent, running), level, heard, (events, now_ms))
            }
        }
    }

    fn perform_level(
        &mut self,
        (intent, mut running): (CanonicalIntent, Box<Running>),
        level: u16,
        mut heard: Heard,
        (events, now_ms): (Vec<PermitEvent>, u64),
    ) -> Answer {
        let link = running.header.intent;
        let steps: Vec<Step> = running.plan.at_level(level).cloned().collect();
        let mut output = Output::default();
        let mut rng = self.hedged(&running, level);
        let barred = self.barred(&intent, &running)?;
        let received = match barred {
            Some(failure) => Err(failure),
            None => self.receive(&mut running, &mut heard),
        };
        let performed = received.map_err(|failure| (0, failure)).and_then(|()| {
            let mut finished = None;
            for (at, (step, event)) in steps.iter().zip(&events).enumerate() {
                let word = self
                    .perform_step((&mut running, &mut rng), step, (&intent, now_ms), &mut finished)
                    .map_err(|failure| (at, failure))?;
                output.say(event, word);
            }
            Ok(finished)
        });
        let mut draft = self.draft();
        mark_consumed(&mut draft, &steps, &events);
        mark_taken(&mut draft, &running.header, &steps);
        save_marks(&mut draft, &std::mem::take(&mut running.raised));
        let mut prepared = None;
        let (mut reply, stage) = match performed {
            Err((at, failure)) => {
                let (run, broken) = ((&intent, &mut *running), (output, at, failure));
                let reply = self.fail_level(run, (heard, &events), broken, (&mut draft, now_ms))?;
                (reply, Stage::Closed)
            }
            Ok(finished) => {
                let mut reply =
                    self.sign_act_level(&mut running, (heard, &events), output, &mut draft)?;
                let stage = match finished {
                    Some(Finished::Result(done)) => {
                        self.hold(*done, &running, (&mut draft, &mut reply), now_ms)?
                    }
                    Some(Finished::Batch(batch)) => {
                        let named = (Some(batch.name()), None, now_ms);
                        reply.receipt = Some(self.permit_receipt(&running, &mut draft, named)?);
                        reply.stashed = Some(batch.stashed());
                        prepared = Some(batch);
                        Stage::Closed
                    }
                    None if level >= running.plan.levels() => {
                        return Err(Stop::internal("the last level made no result"));
                    }
                    None => Stage::Running(running),
                };
                (reply, stage)
            }
        };
        let run = Run { intent, stage };
        Phase::Running.may(Verb::Step, run.phase())?;
        self.commit(draft)?;
        // A crash before this line loses the batch, as one after it does.
        prepared.into_iter().for_each(|batch: Box<Batch>| self.stash.put(*batch));
        reply.permits = events;
        self.runs.insert(link, run);
        Ok(KernelReply::Level(Box::new(reply)))
    }

    /// Ends a run whose level failed at a step, with what that costs.
    fn fail_level(
        &mut self,
        (intent, running): (&CanonicalIntent, &mut Running),
        (heard, events): (Heard, &[PermitEvent]),
        (mut output, at, failure): (Output, usize, Failure),
        (draft, now_ms): (&mut Draft, u64),
    ) -> Result<LevelReply, Stop> {
        let (code, blame) = failure.told();
        let failed = Failed {
            intent,
            header: &running.header,
            key: running.ready.as_ref(),
            event: events.get(at),
            heard: &heard.headers,
        };
        if let Some(event) = failed.event {
            output.fail(event, code, blame);
        }
        let bans = self.count_failure(&failed, &failure, draft, now_ms)?;
        running.course.advance(heard, events, B32::default());
        let receipt = Some(self.permit_receipt(running, draft, (None, Some(code), now_ms))?);
        Ok(LevelReply { results: output.results, receipt, bans, ..level::empty() })
    }

    /// What this level draws its randomness from.
    fn hedged(&mut self, running: &Running, level: u16) -> Hedged {
        let name = (&running.course.execution_id, level, self.vault.vault_seq());
        Hedged::new(&mut *self.around.rng, self.identity.signer(), name)
    }

    /// Signs a level of an act run and takes it over.
    fn sign_act_level(
        &mut self,
        running: &mut Running,
        (heard, events): (Heard, &[PermitEvent]),
        output: Output,
        draft: &mut Draft,
    ) -> Result<LevelReply, Stop> {
        let recipients = running.recipients();
        let place = Place {
            signer: self.identity.signer(),
            boot: self.boot,
            from: self.pinned()?.node.clone(),
            execution_id: running.course.execution_id,
            level: running.course.next_level(),
            prev_view: heard.view,
            recipients: &recipients,
        };
        let (mut reply, own_root) = level::sign(place, output, draft, &mut *self.around.rng);
        running.course.advance(heard, events, own_root);
        reply.next = running.course.mint(&running.plan, running.course.next_level());
        Ok(reply)
    }

    /// Puts the level's payloads where the steps find them; sealed ones are opened here. All who sealed what does not
    /// open are named.
    fn receive(&self, running: &mut Running, heard: &mut Heard) -> Result<(), Failure> {
        let pinned = self.pinned.as_ref().ok_or(Failure::Bug)?;
        let mut culprits = BTreeSet::new();
        for ((index, from), bytes) in std::mem::take(&mut heard.payloads) {
            let step = running.plan.steps.get(usize::from(index)).ok_or(Failure::Bug)?;
            let bytes = if step.phase.kind == PhaseKind::P2p {
                let info = seal_info(running, step, (&from, &pinned.node));
                let aad = step.index.to_be_bytes();
                let Ok(opened) = self.identity.sealing().open(&info, &aad, &bytes) else {
                    culprits.insert(from);
                    continue;
                };
                opened
            } else {
                Zeroizing::new(bytes.0)
            };
            running.inbox.put(step, from, bytes);
        }
        if culprits.is_empty() {
            Ok(())
        } else {
            Err(Failure::Blamed(culprits.into_iter().collect()))
        }
    }

    fn perform_step(
        &mut self,
        (running, rng): (&mut Running, &mut Hedged),
        step: &Step,
        (intent, now_ms): (&CanonicalIntent, u64),
        finished: &mut Option<Finished>,
    ) -> Result<Word, Failure> {
        if let Some((done, name)) = self.finished(running, step, (intent, now_ms))? {
            *finished = Some(done);
            let broadcast = Some(Bytes(name.0.to_vec()));
            return Ok(Word { broadcast, ..Word::default() });
        }
        let said = running.performance.perform(step, &running.inbox, rng)?;
        running.microtrace = traced(running.microtrace, step, &said);
        let me = self.pinned.as_ref().map(|p| p.node.clone()).ok_or(Failure::Bug)?;
        if let Some(own) = &said.broadcast {
            running.inbox.put(step, me.clone(), Zeroizing::new(own.clone()));
        }
        let mut word =
            Word { broadcast: said.broadcast.map(Bytes), public: said.public, ..Word::default() };
        for (to, peer) in &running.peers {
            let Some(plain) = said.private.get(to.as_str()) else { continue };
            let info = seal_info(running, step, (&me, to));
            let (key, aad) = (peer.passport.sealing_key.0, step.index.to_be_bytes());
            let sealed = plain.expose(|plain| seal::seal(&key, &info, &aad, plain, rng));
            let sealed = sealed.map_err(|_| Failure::Blamed(vec![to.clone()]))?;
            word.private.push((to.clone(), Bytes(sealed)));
        }
        Ok(word)
    }

    /// What the last step of a run comes to, with its public name; none of any other step.
    fn finished(
        &self,
        running: &mut Running,
        step: &Step,
        (intent, now_ms): (&CanonicalIntent, u64),
    ) -> Result<Option<(Finished, B32)>, Failure> {
        match step.op {
            MicroOp::FinalizeSig | MicroOp::FinalizeKey => {
                let made = running.performance.made()?;
                let done = self.finish(running, intent, made, now_ms)?;
                let name = done.record.facts.result_ref();
                Ok(Some((Finished::Result(Box::new(done)), name)))
            }
            MicroOp::Stash => {
                let made = running.performance.prepared(&running.inbox)?;
                let batch = Batch::of(running, &intent.act, made, now_ms)?;
                let name = batch.name();
                Ok(Some((Finished::Batch(Box::new(batch)), name)))
            }
            _ => Ok(None),
        }
    }

    /// Gives the result its public name and lays out what will be held.
    fn finish(
        &self,
        running: &Running,
        intent: &CanonicalIntent,
        made: Made,
        now_ms: u64,
    ) -> Result<Holdable, Failure> {
        let execution_id = running.course.execution_id;
        let (facts, holding, share, pairs) = match made {
            Made::Signature { share, commitments, nonce, digest } => {
                let ready = running.ready.as_ref().ok_or(Failure::Bug)?;
                let named = |(node, bytes): (String, Vec<u8>)| {
                    Some(Commitment { node: node.parse().ok()?, bytes: Bytes(bytes) })
                };
                let commitments: Option<Vec<_>> = commitments.into_iter().map(named).collect();
                let commitments = commitments.ok_or(Failure::Bug)?;
                let facts = ResultFacts {
                    execution_id,
                    digest,
                    public_nonce: Bytes(nonce),
                    material: running.header.kind.material(),
                };
                let holding = Holding::Signature { ready: ready.clone(), commitments };
                (facts, holding, share, BTreeMap::new())
            }
            Made::Key { share, pairs, public_key, package, transcript } => {
                let ready = key_ready(intent, running, (&public_key, package, transcript))
                    .ok_or(Failure::Bug)?;
                let facts = ResultFacts {
                    execution_id,
                    digest: transcript,
                    public_nonce: Bytes::default(),
                    material: None,
                };
                (facts, Holding::Key { ready }, share, pairs)
            }
        };
        let share = Zeroizing::new(share.expose(Vec::clone));
        let record = HeldRecord {
            intent: intent.clone(),
            header: running.header.clone(),
            course: running.course.clone(),
            backend: running.backend,
            facts,
            permit: running.header_link,
            boots: boots_of(&running.peers),
            holding,
            held_at_ms: now_ms,
            gate: Gate::Held,
            failed: false,
            publication: None,
        };
        Ok(Holdable { record, share, pairs })
    }

    /// Writes the held result with its PermitReceipt.
    fn hold(
        &self,
        finished: Holdable,
        running: &Running,
        (draft, reply): (&mut Draft, &mut LevelReply),
        now_ms: u64,
    ) -> Result<Stage, Stop> {
        let Holdable { mut record, share, pairs } = finished;
        let result_ref = record.facts.result_ref();
        let receipt = self.permit_receipt(running, draft, (Some(result_ref), None, now_ms))?;
        record.permit = receipt.link();
        record.course = running.course.clone();
        record.save(draft);
        record.save_share(draft, share);
        for (peer, pair) in pairs {
            let peer = peer.parse().map_err(|_| Stop::internal("a holder without a name"))?;
            let id = PairId { made_by: running.course.execution_id, peer };
            id.save(draft, Zeroizing::new(pair.expose(Vec::clone)));
        }
        if let Some(message) = &running.message {
            record.save_message(draft, message);
        }
        reply.receipt = Some(receipt);
        Ok(Stage::Held(Box::new(record)))
    }

    fn permit_receipt(
        &self,
        running: &Running,
        draft: &mut Draft,
        (result_ref, aborted, now_ms): (Option<B32>, Option<ReasonCode>, u64),
    ) -> Result<Signed<PermitReceipt>, Stop> {
        let pinned = self.pinned()?;
        let events: Vec<Vec<u8>> = running.course.events.iter().map(Link::to_bytes).collect();
        let before = running.course.next_level().saturating_sub(2);
        let receipt = PermitReceipt {
            cluster: pinned.cluster(),
            node: pinned.node.clone(),
            boot: self.boot,
            vault_seq: draft.next_seq(),
            execution_id: running.course.execution_id,
            header: running.header_link,
            intent: running.header.intent,
            admission: running.admission,
            permit_handle: running.course.handle,
            permits_root: merkle::root(&events),
            permits: u32::try_from(events.len()).unwrap_or(u32::MAX),
            microtrace_root: running.microtrace,
            view: running.course.view(before).unwrap_or_default(),
            result_ref,
            aborted,
            time_ms: now_ms,
        };
        Ok(Signed::new(receipt, self.identity.signer()))
    }

    /// Ends a running act with its receipt.
    pub(crate) fn end_run(
        &mut self,
        link: Link,
        code: ReasonCode,
        now_ms: u64,
    ) -> Result<Option<Signed<PermitReceipt>>, Stop> {
        let mut draft = self.draft();
        let receipt = match self.runs.get(&link).map(|r| &r.stage) {
            Some(Stage::Running(running)) => {
                Some(self.permit_receipt(running, &mut draft, (None, Some(code), now_ms))?)
            }
            _ => None,
        };
        self.commit(draft)?;
        if let Some(run) = self.runs.get_mut(&link) {
            run.stage = Stage::Closed;
        }
        Ok(receipt)
    }
}

/// HPKE info of one sealed payload: everything that it is for.
fn seal_info(running: &Running, step: &Step, (from, to): (&NodeId, &NodeId)) -> [u8; 32] {
    let header = &running.header;
    let tagged = Tagged::new(Domain::Seal)
        .part(&header.cluster.to_bytes())
        .number(header.key_epoch.into())
        .part(&running.course.execution_id.0)
        .number(step.level.into())
        .part(from.as_str().as_bytes())
        .part(to.as_str().as_bytes());
    tagged.finish().0
}

/// The microtrace after a step. It starts from a secret seed, so its root tells nothing about what it covers.
fn traced(before: B32, step: &Step, said: &Said) -> B32 {
    let mut tagged = Tagged::new(Domain::Microtrace).part(&before.0).number(step.index.into());
    tagged = tagged.part(said.broadcast.as_deref().unwrap_or_default());
    for (to, plain) in &said.private {
        let digest = plain.expose(|p| dvm_core::digest::sha256(p));
        tagged = tagged.part(to.as_bytes()).part(&digest.0);
    }
    tagged.finish()
}

fn key_ready(
    intent: &CanonicalIntent,
    running: &Running,
    (public_key, package, transcript): (&[u8], Vec<u8>, B32),
) -> Option<KeyReady> {
    let Act::KeyGenerate { key_id, backend, threshold, roster } = &intent.act else { return None };
    let chain_code = dvm_blame::first_chain_code(*backend, &transcript, public_key);
    Some(KeyReady {
        cluster: intent.cluster,
        key_id: key_id.clone(),
        key_epoch: intent.act.key_epoch(),
        backend: *backend,
        threshold: *threshold,
        roster: roster.clone(),
        public_key: Bytes(public_key.to_vec()),
        package: Bytes(package),
        intent: link_of(intent),
        execution_id: running.course.execution_id,
        transcript,
        chain_code,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use dvm_core::receipt::CallContext;
    use dvm_score::compile;

    use super::*;
    use crate::vault::Vault;

    fn vault(dir: &std::path::Path) -> Vault {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let master = crate::unseal::MasterKey::from_bytes(Zeroizing::new([7; 32]));
        let rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(1);
        Vault::open(dir, master, Box::new(rng)).unwrap()
    }

    /// A level's permit: the same step of the same run, over what `args` stands for.
    fn permit(step: &Step, level: u16, args: u8) -> PermitEvent {
        let context = CallContext {
            execution_id: B32([1; 32]),
            plan_id: B32([2; 32]),
            site: step.site,
            step: step.index,
            level,
            view: B32([3; 32]),
            args: B32([args; 32]),
        };
        PermitEvent { context, permit_handle: B32([4; 32]), step_permit: B32([5; 32]) }
    }

    #[test]
    fn one_time_material_is_marked_once_and_a_second_marking_commits_nothing() {
        let signers: Vec<NodeId> = ["n1", "n2"].map(|n| n.parse().unwrap()).to_vec();
        let key_id = "treasury".parse().unwrap();
        let act = Act::SignDigest { key_id, key_epoch: 1, digest: B32::default() };
        let run = dvm_score::Run::Act(None);
        let backend = dvm_core::intent::Backend::FrostEd25519;
        let plan = compile(&act, run, backend, &signers).unwrap().into_plan();
        let consumes = |s: &&Step| s.effect == Effect::Consume;
        let step = plan.steps.iter().find(consumes).unwrap().clone();
        let other = plan.steps.iter().find(|s| s.effect != Effect::Consume).unwrap().clone();
        let dir = tempfile::tempdir().unwrap();
        let mut vault = vault(dir.path());
        let mut mark = |step: &Step, level, args| {
            let mut draft = Draft::new(&vault);
            mark_consumed(&mut draft, std::slice::from_ref(step), &[permit(step, level, args)]);
            let before = vault.commits();
            (draft.commit(&mut vault, 0).is_ok(), vault.commits() - before)
        };
        assert_eq!(mark(&step, 2, 1), (true, 1));
        // Another level is another record of permits: it is the marker that refuses.
        assert_eq!(mark(&step, 3, 2), (false, 0));
        assert_eq!(mark(&other, 4, 1), (true, 1));
        assert_eq!(mark(&other, 5, 2), (true, 1), "what consumes nothing has no marker");
        assert_eq!(mark(&other, 5, 3), (false, 0), "a level's permits are recorded once");
    }
}
