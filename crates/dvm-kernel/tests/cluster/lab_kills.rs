//! The kernel ends at every point of a signature's life, before the call and after its commit, and a hostile runtime
//! then asks everything again. What counts is what left the kernel over all its lives: nothing one-time twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dvm_blame::{Suite, verify_signature};
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::trace::Outcome;
use dvm_core::{B32, NodeId};

use crate::harness::{Cluster, id};
use crate::messenger::Course;

const BACKEND: Backend = Backend::FrostEd25519;
const CONTENT: &[u8] = b"content";

/// Calls in the life of n1: open, start, two levels, start, grant, and two levels of the publication.
const POINTS: usize = 8;

/// What left one kernel, in all its lives.
#[derive(Default)]
struct Left {
    /// Headers by (run, level): a second one would be a second story.
    headers: BTreeMap<(B32, u16), BTreeSet<Vec<u8>>>,
    /// Runs by nonce commitment.
    commitments: BTreeMap<Vec<u8>, BTreeSet<B32>>,
    /// Challenges by run: a second one under one commitment would be a second equation for the share.
    challenges: BTreeMap<B32, BTreeSet<Vec<u8>>>,
    /// Shares opened, by publication.
    shares: BTreeMap<B32, BTreeSet<Vec<u8>>>,
    results: BTreeSet<Vec<u8>>,
}

impl Left {
    fn of(cluster: &Cluster, node: &str) -> Self {
        let mut left = Self::default();
        let node: NodeId = id(node);
        for (from, reply) in &cluster.said {
            if let (true, KernelReply::Level(level)) = (*from == node, reply) {
                left.take(level);
            }
        }
        left
    }

    fn take(&mut self, level: &dvm_core::call::LevelReply) {
        let Some(header) = &level.header else { return };
        let slot = (header.body.execution_id, header.body.level);
        self.headers.entry(slot).or_default().insert(dvm_core::codec::encode(header));
        let said = level.frames.first().map(|f| f.broadcast.payloads.clone()).unwrap_or_default();
        let publishes = level.publication.is_some() || level.published.is_some();
        let signs = level.results.len() == 4;
        if let (false, false, 1, Some(commitment)) = (signs, publishes, slot.1, said.first()) {
            self.commitments.entry(commitment.0.clone()).or_default().insert(slot.0);
        }
        if signs {
            // Level 2 of a signature: the second result shows the challenge.
            if let Outcome::Ok { public: Some(challenge), .. } = &level.results[1].outcome {
                self.challenges.entry(slot.0).or_default().insert(challenge.0.clone());
            }
        }
        if let (2, false, Some(share)) = (slot.1, signs, said.first()) {
            self.shares.entry(slot.0).or_default().insert(share.0.clone());
        }
        if let Some(published) = &level.published {
            self.results.insert(published.body.result.0.clone());
        }
    }

    fn holds(&self) {
        assert!(self.headers.values().all(|h| h.len() == 1), "two stories for one slot");
        assert!(self.commitments.values().all(|r| r.len() == 1), "one nonce in two runs");
        assert!(self.challenges.values().all(|c| c.len() == 1), "two challenges under one nonce");
        assert!(self.shares.values().all(|s| s.len() == 1), "two shares of one result");
        assert_eq!(self.shares.len(), 1, "shares of two results of one intent");
        assert_eq!(self.results.len(), 1, "one signature for one intent");
    }
}

/// One life of a signature, in which n1 ends at a point.
struct Life {
    cluster: Cluster,
    intent: CanonicalIntent,
    public_key: Vec<u8>,
    /// Calls that n1 was asked, with the kernel's own words in them.
    asked: Vec<KernelCall>,
    held: Option<Course>,
}

impl Life {
    fn new() -> Self {
        let cluster = Cluster::roomy(BACKEND);
        let record = cluster.state.key(&id("treasury")).unwrap();
        let public_key = record.ready.public_key.0.clone();
        let intent = cluster.sign_intent(CONTENT, "one");
        Self { cluster, intent, public_key, asked: Vec::new(), held: None }
    }

    /// Another life, of which nothing was said yet.
    fn begin(&mut self, name: &str) {
        self.cluster.said.clear();
        self.asked.clear();
        self.held = None;
        self.intent = self.cluster.sign_intent(CONTENT, name);
    }

    /// Asks n1; false if its kernel ended instead of the answer, or before it.
    fn ask(&mut self, call: &KernelCall, end: (usize, bool)) -> Option<KernelReply> {
        let (point, after) = end;
        let now = self.asked.len() == point;
        self.asked.push(call.clone());
        if now && !after {
            self.cluster.restart("n1");
            return None;
        }
        let reply = self.cluster.call("n1", call.clone());
        if now {
            self.cluster.restart("n1");
            return None;
        }
        Some(reply)
    }

    /// Lives up to the point at which n1 ends. What n2 is asked does not matter to n1's end.
    fn live(&mut self, end: (usize, bool)) -> Option<()> {
        let (n1, n2): (NodeId, NodeId) = (id("n1"), id("n2"));
        let open = self.cluster.open_call("n1", &self.intent, Some(CONTENT));
        let KernelReply::Opened(ours) = self.ask(&open, end)? else { panic!("not opened") };
        let theirs = self.cluster.open("n2", &self.intent, Some(CONTENT));
        let (proposal, plan) = self.cluster.proposal(&self.intent, vec![*ours, theirs], BACKEND);
        let mut course = self.started(&proposal, plan, (&Course::frames_of(&None), end))?;
        for _ in 0..2 {
            let call = Cluster::step_call(&course, &n1);
            self.performed(&mut course, &call, Cluster::step_call, end)?;
        }
        self.held = Some(course.clone());
        let (proposal, plan) = Cluster::publication(&self.intent, &course, BACKEND);
        let mut course = self.started(&proposal, plan, (&course.inbox, end))?;
        let intent = self.intent.clone();
        let call = self.cluster.grant_call(&intent, &course, &n1, &["a2", "a3"]);
        let theirs = self.cluster.grant_call(&intent, &course, &n2, &["a2", "a3"]);
        self.performed(&mut course, &call, |_, _| theirs.clone(), end)?;
        for _ in 0..2 {
            let call = Cluster::open_result_call(&course, &n1);
            self.performed(&mut course, &call, Cluster::open_result_call, end)?;
        }
        Some(())
    }

    fn started(
        &mut self,
        proposal: &dvm_core::run::Proposal,
        plan: dvm_score::Plan,
        (frames, end): (&BTreeMap<NodeId, Vec<dvm_core::frame::Envelope>>, (usize, bool)),
    ) -> Option<Course> {
        let of = |node: &str| frames.get(&id(node)).cloned().unwrap_or_default();
        let call = |node: &str| KernelCall::Start {
            proposal: Box::new(proposal.clone()),
            frames: of(node),
        };
        let mut calls = BTreeMap::new();
        let KernelReply::Started { permits, .. } = self.ask(&call("n1"), end)? else { panic!() };
        calls.insert(id("n1"), permits);
        let theirs = call("n2");
        let KernelReply::Started { permits, .. } = self.cluster.call("n2", theirs) else {
            panic!()
        };
        calls.insert(id("n2"), permits);
        Some(Course {
            header: proposal.header.clone(),
            execution_id: proposal.header.execution_id(),
            plan,
            level: 0,
            calls,
            inbox: BTreeMap::new(),
            replies: BTreeMap::new(),
        })
    }

    fn performed(
        &mut self,
        course: &mut Course,
        call: &KernelCall,
        theirs: impl Fn(&Course, &NodeId) -> KernelCall,
        end: (usize, bool),
    ) -> Option<()> {
        let n2: NodeId = id("n2");
        let reply = self.cluster.call("n2", theirs(course, &n2));
        let theirs = crate::messenger::level(reply);
        let ours = crate::messenger::level(self.ask(call, end)?);
        course.calls = [(id("n1"), ours.next.clone()), (n2.clone(), theirs.next.clone())].into();
        course.inbox =
            [(id("n1"), theirs.frames.clone()), (n2.clone(), ours.frames.clone())].into();
        course.replies = [(id("n1"), ours), (n2, theirs)].into();
        course.level += 1;
        Some(())
    }

    /// Everything that was ever asked, again: in order, and from the last to the first.
    fn ask_all_again(&mut self) {
        let forth = self.asked.clone();
        // An opening ends what is held, which a runtime may do at any time; here it wants to keep it.
        let kept = forth.iter().filter(|call| !matches!(call, KernelCall::Open { .. }));
        for call in kept.clone().chain(kept.rev()) {
            self.cluster.call("n1", call.clone());
        }
    }

    /// The honest end: what is held is published, and what is lost is signed anew.
    fn finish(&mut self) {
        let phase = self.cluster.phases("n1");
        let out = self.cluster.said.iter().any(|(node, reply)| {
            let level = if let KernelReply::Level(level) = reply { Some(level) } else { None };
            node.as_str() == "n1" && level.is_some_and(|l| l.published.is_some())
        });
        let intent = self.intent.clone();
        let both_hold = self.cluster.phases("n2").len() + usize::from(out) > 0;
        let held = match self.held.clone() {
            Some(held) if (out || !phase.is_empty()) && both_hold => held,
            _ => {
                let name = intent.idempotency_key.as_str();
                self.cluster.held_signature(CONTENT, name, ["n1", "n2"], BACKEND).1
            }
        };
        let mut course = self.cluster.start_publication(&intent, &held, BACKEND);
        for calls in course.calls.values_mut() {
            calls.truncate(1);
        }
        self.cluster.grant_all(&intent, &mut course);
        for result in self.cluster.open_all(&mut course) {
            let signature = &result.body.result;
            let verified =
                verify_signature(Suite::FrostEd25519, &self.public_key, CONTENT, signature);
            assert_eq!(verified, Ok(()));
        }
    }
}

impl Course {
    fn frames_of(course: &Option<Self>) -> BTreeMap<NodeId, Vec<dvm_core::frame::Envelope>> {
        course.as_ref().map(|c| c.inbox.clone()).unwrap_or_default()
    }
}

#[test]
fn kernel_that_ends_at_any_point_says_nothing_one_time_twice_and_the_signature_is_made_once() {
    let mut life = Life::new();
    for point in 0..POINTS {
        for after in [false, true] {
            life.begin(&format!("{point}-{after}"));
            assert_eq!(life.live((point, after)), None, "{point}");
            life.ask_all_again();
            life.finish();
            life.ask_all_again();
            Left::of(&life.cluster, "n1").holds();
            Left::of(&life.cluster, "n2").holds();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for file in ["vault.db", "vault.db-wal"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn last_commit_torn_anywhere_is_there_or_not_and_no_share_is_there_twice() {
    let mut life = Life::new();
    life.begin("lost");
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(life.live((3, false)), None);
    // n1 restarted before level 2, so its run is gone; the same point again, with the run alive.
    let intent = life.cluster.sign_intent(CONTENT, "torn");
    let opens = ["n1", "n2"].map(|node| life.cluster.open(node, &intent, Some(CONTENT))).to_vec();
    let (proposal, plan) = life.cluster.proposal(&intent, opens, BACKEND);
    let mut course = life.cluster.start(&proposal, plan, &BTreeMap::new());
    life.cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let dir = life.cluster.vault_dir("n1");
    copy(&dir, before.path());
    let call = Cluster::step_call(&course, &id("n1"));
    let done = life.cluster.call("n1", call.clone());
    assert!(matches!(done, KernelReply::Level(_)));
    copy(&dir, after.path());
    let written = |dir: &Path| std::fs::read(dir.join("vault.db-wal")).unwrap();
    let (short, long) = (written(before.path()), written(after.path()));
    let differs = short.iter().zip(&long).position(|(a, b)| a != b).unwrap_or(short.len());
    let mut seen = BTreeSet::new();
    for part in 0..=16 {
        life.cluster.halt("n1");
        copy(after.path(), &dir);
        let cut = differs + (long.len() - differs) * part / 16;
        std::fs::write(dir.join("vault.db-wal"), &long[..cut]).unwrap();
        life.cluster.reboot("n1");
        let held = life.cluster.phases("n1");
        seen.insert(held.clone());
        // Whether the level is on disk or not, it is not performed again.
        let code = crate::messenger::refusal(&life.cluster.call("n1", call.clone())).0;
        let known = [dvm_core::ReasonCode::NotFound, dvm_core::ReasonCode::WrongPhase];
        assert!(known.contains(&code), "{code:?} at {part}");
    }
    assert_eq!(seen.len(), 2, "both outcomes were seen: {seen:?}");
}
