//! The checkers: what must hold in every history, whatever the faults.
//!
//! The world tells the judge facts as they happen: what kernels said, what went over a wire, what
//! engines wrote. The judge knows nothing else, so a hand-made history tests it as well as a seed.
//!
//! Always true: a node that the seed made a liar, or that got an older directory back, counts as
//! dishonest from then on; every checker speaks of the others only, except where a kernel must
//! hold even below a hostile runtime.

mod facts;
mod rounds;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::admission::Purpose;
use dvm_core::trace::{Terminal, TraceRoot};
use dvm_core::{B32, Link, NodeId, ReasonCode};

pub use facts::{Ended, Fact, RunFacts, Words};

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which checker.
    pub checker: &'static str,
    /// What it saw.
    pub what: String,
}

/// Names of the checkers, as they complain.
pub const CHECKERS: [&str; 13] = [
    "one-story",
    "one-time-ids",
    "one-signature",
    "grants-first",
    "refusal-changes-nothing",
    "honest-never-blamed",
    "cheats-show",
    "bans-hold",
    "durable-before-said",
    "people-decide",
    "every-request-ends",
    "no-internal",
    "bundles-verify",
];

type Seen = Result<(), Complaint>;

fn ensure(holds: bool, checker: &'static str, what: impl FnOnce() -> String) -> Seen {
    if holds { Ok(()) } else { Err(Complaint { checker, what: what() }) }
}

/// What the floor of the cluster's key asks of people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Approvals before a kernel opens a signature.
    pub admit: usize,
    /// Approvals before a kernel grants a release.
    pub release: usize,
}

/// Who approved, and what for: an admission, or the release of one run's result.
type Approved = (String, Option<(B32, B32)>);

/// A result of an intent, and who signed it if that is known.
type Published = (Vec<u8>, Option<Vec<NodeId>>);

/// Everything seen so far that a checker needs.
#[derive(Debug, Default)]
pub struct Judge {
    asks: Asks,
    /// Nodes that lie by plan.
    liars: BTreeSet<NodeId>,
    /// Nodes whose runtime lies over an honest kernel.
    runtimes: BTreeSet<NodeId>,
    /// Nodes that were given an older directory.
    rolled_back: BTreeSet<NodeId>,
    runs: BTreeMap<B32, RunFacts>,
    roots: BTreeMap<(B32, NodeId), TraceRoot>,
    headers: BTreeMap<(B32, u16, NodeId), B32>,
    nonces: BTreeMap<Vec<u8>, (B32, NodeId)>,
    shares: BTreeMap<(B32, NodeId), Vec<u8>>,
    permits: BTreeMap<(NodeId, B32), Link>,
    grants: BTreeSet<(B32, NodeId)>,
    results: BTreeMap<Link, Vec<Published>>,
    said: BTreeMap<NodeId, u64>,
    approved: BTreeMap<Link, BTreeSet<Approved>>,
    tombstones: BTreeSet<(NodeId, Link)>,
    /// Whose share of a result of which intent is out.
    opened: BTreeSet<(NodeId, Link)>,
    rounds: rounds::Rounds,
    /// Bans seen: how often the checker of bans had something to remember.
    pub bans: u64,
    /// Opening shares seen: how often the checker of grants had something to check.
    pub openings: u64,
    /// Runs that at least two honest nodes finished.
    pub stories: u64,
}

impl Judge {
    /// A judge of a cluster whose key asks this.
    pub fn new(asks: Asks) -> Self {
        Self { asks, ..Self::default() }
    }

    /// From now on this node may say anything.
    pub fn distrust(&mut self, node: NodeId) {
        self.liars.insert(node);
    }

    /// From now on this node's runtime may do anything; its kernel still obeys its rules.
    pub fn distrust_runtime(&mut self, node: NodeId) {
        self.runtimes.insert(node);
    }

    /// Whether this node got an older directory back.
    pub fn was_rolled_back(&self, node: &NodeId) -> bool {
        self.rolled_back.contains(node)
    }

    /// From now on this node may repeat itself.
    pub fn rolled_back(&mut self, node: NodeId) {
        self.rolled_back.insert(node);
    }

    fn honest(&self, node: &NodeId) -> bool {
        !self.kernel_lies(node) && !self.runtimes.contains(node)
    }

    fn kernel_lies(&self, node: &NodeId) -> bool {
        self.liars.contains(node) || self.rolled_back.contains(node)
    }

    /// Takes a fact.
    ///
    /// # Errors
    /// [`Complaint`] if a rule is broken with it.
    pub fn see(&mut self, fact: Fact) -> Seen {
        match fact {
            Fact::Run(run) => {
                self.runs.insert(run.execution, run);
                Ok(())
            }
            Fact::Said { node, vault_seq, words } => self.on_said(&node, vault_seq, words),
            Fact::Permit { node, permit, context } => self.on_permit(node, permit, context),
            Fact::Started { node, execution } => self.on_started(&node, &execution),
            Fact::Performed { node, execution, level } => {
                self.on_performed(&node, &execution, level)
            }
            Fact::Banned { node, culprit, key } => self.on_banned(node, culprit, key),
            Fact::FailedUnnamed { node, execution } => {
                self.on_unnamed(node, &execution);
                Ok(())
            }
            Fact::Granted { node, publication } => self.on_granted(node, publication),
            Fact::Opened { node, intent } => self.on_opened(&node, intent),
            Fact::Tombstoned { node, intent } => {
                self.tombstones.insert((node, intent));
                Ok(())
            }
            Fact::Approved { person, intent, purpose } => {
                self.on_approved(person, intent, purpose);
                Ok(())
            }
            Fact::KernelRefused { node, code, rule, commits } => {
                self.on_refused(&node, code, (&rule, commits))
            }
            Fact::KernelInternal { node, rule } => {
                ensure(false, "no-internal", || format!("{node}'s kernel says INTERNAL: {rule}"))
            }
            Fact::EngineRefused { node, event, acts } => {
                ensure(!acts, "refusal-changes-nothing", || {
                    format!("{node}'s engine says `{event}` and acts")
                })
            }
            Fact::Root { node, root } => self.on_root(node, *root),
            Fact::Blamed { by, culprit, what } => self.on_named(&by, &culprit, &what),
            Fact::Result { node, intent, result, publication, verifies } => {
                ensure(verifies, "one-signature", || {
                    format!("{node} shows a result of {intent} that does not verify")
                })?;
                self.on_result(&node, intent, (result, publication))
            }
            Fact::Booted { node, vault_seq } => self.on_booted(&node, vault_seq),
            Fact::Ended(ended) => self.on_ended(&ended),
            Fact::Unanswered { node, what, waited_ms } => {
                ensure(false, "every-request-ends", || {
                    format!("{node} has not answered `{what}` for {waited_ms} ms")
                })
            }
            Fact::Bundle { node, intent, refused } => {
                ensure(refused.is_none() || !self.honest(&node), "bundles-verify", || {
                    format!("{node}'s bundle of {intent}: {}", refused.unwrap_or_default())
                })
            }
        }
    }

    fn on_approved(&mut self, person: String, intent: Link, purpose: Purpose) {
        let release = match purpose {
            Purpose::Admit => None,
            Purpose::Release { execution_id, result_ref } => Some((execution_id, result_ref)),
        };
        self.approved.entry(intent).or_default().insert((person, release));
    }

    /// A permit in another context ends its run, durably. And evidence that a kernel's key speaks twice is kept, and
    /// ends that kernel itself: there is such only where a kernel was restored, or where a liar signs with its kernel's
    /// key beside it.
    fn on_refused(&self, node: &NodeId, code: ReasonCode, (rule, commits): (&str, u64)) -> Seen {
        let twice = !self.liars.is_empty() || !self.rolled_back.is_empty();
        let acts = code == ReasonCode::StepPermitReused
            || code == ReasonCode::SplitBrainFenced && twice
            || self.rolled_back.contains(node);
        ensure(commits == 0 || acts, "refusal-changes-nothing", || {
            format!("{node}'s kernel refused ({rule}) and made {commits} commits")
        })
    }

    /// What a kernel's level says, seen on its way out.
    fn on_said(&mut self, node: &NodeId, vault_seq: u64, words: Words) -> Seen {
        let said = self.said.entry(node.clone()).or_default();
        *said = vault_seq.max(*said);
        let Words { execution, level, root, broadcast } = words;
        if !self.kernel_lies(node) {
            let slot = (execution, level, node.clone());
            let before = *self.headers.entry(slot).or_insert(root);
            ensure(before == root, "one-time-ids", || {
                format!("{node} said two things in level {level} of {execution}")
            })?;
        }
        let Some(run) = self.runs.get(&execution).cloned() else { return Ok(()) };
        self.on_material(node, &run)?;
        match (run.publishes, run.makes_key(), level) {
            // With material there is none to show: the level says the result's name, the same at every signer.
            (None, false, 1) if run.material.is_none() => self.on_nonce(node, execution, broadcast),
            (Some((act, _)), makes_key, 2) => {
                self.on_opening(node, &run)?;
                if makes_key { Ok(()) } else { self.on_share(node, act, broadcast) }
            }
            _ => Ok(()),
        }
    }

    /// Nonce commitments name one use each, of all kernels: not even a liar's may come back.
    fn on_nonce(&mut self, node: &NodeId, execution: B32, nonce: Vec<u8>) -> Seen {
        if self.liars.contains(node) {
            return Ok(());
        }
        let first = self.nonces.entry(nonce).or_insert((execution, node.clone())).clone();
        ensure(first == (execution, node.clone()), "one-time-ids", || {
            format!("{node} shows in {execution} the nonce that {} showed in {}", first.1, first.0)
        })
    }

    /// One nonce, one partial signature.
    fn on_share(&mut self, node: &NodeId, act: B32, share: Vec<u8>) -> Seen {
        if self.liars.contains(node) {
            return Ok(());
        }
        let first = self.shares.entry((act, node.clone())).or_insert_with(|| share.clone());
        ensure(*first == share, "one-time-ids", || {
            format!("{node} opened two partial signatures under one nonce, in {act}")
        })
    }

    /// No share leaves an honest kernel before every participant's kernel has granted.
    fn on_opening(&mut self, node: &NodeId, run: &RunFacts) -> Seen {
        if self.liars.contains(node) {
            return Ok(());
        }
        self.openings = self.openings.saturating_add(1);
        self.opened.insert((node.clone(), run.intent));
        let granted = |who: &&NodeId| !self.grants.contains(&(run.execution, (*who).clone()));
        let missing: Vec<&NodeId> = run.participants.iter().filter(granted).collect();
        ensure(missing.is_empty(), "grants-first", || {
            format!("{node} opened in {} before {missing:?} granted", run.execution)
        })
    }

    fn on_permit(&mut self, node: NodeId, permit: B32, context: Link) -> Seen {
        if self.rolled_back.contains(&node) {
            // A vault that nobody saw more of has no way to know that it consumed it.
            return Ok(());
        }
        let first = *self.permits.entry((node.clone(), permit)).or_insert(context);
        ensure(first == context, "one-time-ids", || {
            format!("{node}'s permit {permit} served two contexts")
        })
    }

    /// A kernel's yes at the gate rests on people, whatever its runtime told it.
    fn on_granted(&mut self, node: NodeId, publication: B32) -> Seen {
        self.grants.insert((publication, node.clone()));
        let Some(run) = self.runs.get(&publication) else { return Ok(()) };
        let Some(released) = run.publishes.filter(|_| !run.makes_key()) else { return Ok(()) };
        self.granted_a_lie(&node, &released.0)?;
        let people = self.people(&run.intent, Some(released));
        ensure(people >= self.asks.release, "people-decide", || {
            format!("{node} granted with {people} of {} approvals", self.asks.release)
        })?;
        let denied = self.tombstones.contains(&(node.clone(), run.intent));
        ensure(!denied || self.rolled_back.contains(&node), "people-decide", || {
            format!("{node} granted what its kernel had been told is denied")
        })
    }

    fn on_opened(&mut self, node: &NodeId, intent: Link) -> Seen {
        let again = self.opened.contains(&(node.clone(), intent)) && !self.kernel_lies(node);
        ensure(!again, "one-signature", || {
            format!("{node} performs {intent} anew, of which its share is out")
        })?;
        let signs = self.approved.contains_key(&intent);
        if signs {
            let people = self.people(&intent, None);
            ensure(people >= self.asks.admit, "people-decide", || {
                format!("{node} opened with {people} of {} approvals", self.asks.admit)
            })?;
        }
        let denied = self.tombstones.contains(&(node.clone(), intent));
        ensure(!denied || self.rolled_back.contains(node), "people-decide", || {
            format!("{node} opened what its kernel had been told is denied")
        })
    }

    fn people(&self, intent: &Link, purpose: Option<(B32, B32)>) -> usize {
        let all = self.approved.get(intent).into_iter().flatten();
        all.filter(|(person, at)| !person.is_empty() && *at == purpose).count()
    }

    /// A signature over an intent is awaited: from here on its openings need people.
    pub fn expect(&mut self, intent: Link) {
        self.approved.entry(intent).or_default();
    }

    fn on_root(&mut self, node: NodeId, root: TraceRoot) -> Seen {
        if let Some(Terminal::Blamed { culprit, code }) = &root.terminal {
            self.on_blamed(&node, culprit, code.name())?;
        }
        if !self.honest(&node) {
            return Ok(());
        }
        let run = root.execution_id;
        for ((execution, other), theirs) in self.roots.range((run, node_min())..) {
            if *execution != run {
                break;
            }
            if *other == node || !self.honest(other) {
                continue;
            }
            let same_run = theirs.header == root.header
                && theirs.plan_id == root.plan_id
                && theirs.score_id == root.score_id;
            let both = theirs.terminal == Some(Terminal::Done) && theirs.terminal == root.terminal;
            let same_end = theirs.confirmed_level == root.confirmed_level
                && theirs.view_root == root.view_root;
            self.stories = self.stories.saturating_add(u64::from(both));
            ensure(same_run && (!both || same_end), "one-story", || {
                format!("{node} and {other} finished {run} with different stories")
            })?;
        }
        self.roots.insert((run, node), root);
        Ok(())
    }

    fn on_blamed(&mut self, by: &NodeId, culprit: &NodeId, what: &str) -> Seen {
        ensure(!self.honest(culprit) || !self.honest(by), "honest-never-blamed", || {
            format!("{by} blames {culprit}: {what}")
        })
    }

    /// One signature of an intent; a second one only if each kernel that had a part in both lies or has forgotten the
    /// first: docs/decisions/0009-a-share-once-out-ends-the-intent.md.
    fn on_result(
        &mut self,
        node: &NodeId,
        intent: Link,
        (result, publication): (Vec<u8>, Option<B32>),
    ) -> Seen {
        let known = self.results.get(&intent).map_or(&[][..], Vec::as_slice);
        if known.iter().any(|(bytes, _)| *bytes == result) {
            return Ok(());
        }
        let run = publication.and_then(|id| self.runs.get(&id));
        let signers = run.map(|run| run.participants.clone());
        let apart = |(_, of): &Published| {
            let both = signers.as_ref().zip(of.as_ref());
            both.is_some_and(|(a, b)| a.iter().all(|n| !b.contains(n) || self.kernel_lies(n)))
        };
        ensure(known.iter().all(apart), "one-signature", || {
            format!("{node} shows a second result of {intent}")
        })?;
        self.results.entry(intent).or_default().push((result, signers));
        Ok(())
    }

    fn on_booted(&mut self, node: &NodeId, vault_seq: u64) -> Seen {
        let said = self.said.get(node).copied().unwrap_or(0);
        let restored = self.rolled_back.contains(node);
        ensure(restored || vault_seq >= said, "durable-before-said", || {
            format!("{node} had said statement {said} and restarts at {vault_seq}")
        })
    }

    /// How an operation stands when everything has been well for long enough.
    fn on_ended(&self, ended: &Ended) -> Seen {
        let Ended { node, intent, state, codes, excused } = ended;
        let over = ["Published", "Denied", "Discarded", "Poisoned", "Expired"];
        let waits = matches!(state.as_str(), "AwaitingApproval" | "Executed")
            && codes.iter().any(|c| c == "APPROVALS_MISSING");
        let excused = *excused && !codes.is_empty();
        ensure(over.contains(&state.as_str()) || waits || excused, "every-request-ends", || {
            format!("{intent} at {node} is still {state} {codes:?}")
        })
    }
}

/// Below every node's name.
fn node_min() -> NodeId {
    crate::cast::id("-")
}
