//! The rules that an entry must keep, by name, and the checks that every entry has in common.
//!
//! Source: the design's invariants 2 to 4 and its governance chapter. What one kind of event needs
//! beside these is in `fold.rs`; decisions are judged in `decision.rs`.

use std::fmt;

use dvm_core::ReasonCode;
use dvm_core::codec::link_of;
use dvm_core::governance::{Event, EventKind, LogEntry};

use crate::state::{AuthorityState, ClusterState};

/// Links that one event may rest on: a key fact and the receipts of every holder, with room.
const REFS_MAX: usize = 64;

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:ident;)*) => {
        /// A rule of the log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $variant,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The reason code that goes with it.
            pub fn code(self) -> ReasonCode {
                match self { $(Self::$variant => ReasonCode::$code,)* }
            }
        }
    };
}

rules! {
    /// The event is of this cluster.
    Cluster = "cluster", LogInconsistent;
    /// The event has the next sequence number.
    Seq = "seq", LogInconsistent;
    /// The event names the one before it.
    Prev = "prev_event", LogInconsistent;
    /// The author is a current node and signed with its policy key.
    Author = "author", LogInconsistent;
    /// References are bounded and distinct.
    Refs = "artifact_refs", GuardRefused;
    /// `ClusterFormed` comes first and once, with this cluster's id; nothing follows retirement.
    ClusterLife = "cluster_life", GuardRefused;
    /// The cluster's conditions allow the event.
    ClusterCondition = "cluster_condition", GuardRefused;
    /// The event is about the key's right epoch.
    Epoch = "key_epoch", StaleEpoch;
    /// The event carries the decision it needs and no other.
    DecisionPresent = "decision_present", GuardRefused;
    /// `decision_cid` is the link of that decision.
    DecisionLink = "decision_cid", GuardRefused;
    /// The decision is for exactly this cluster, change and epoch.
    DecisionSubject = "decision_subject", GuardRefused;
    /// The decision was made at the current head.
    DecisionHead = "decision_prev_head", StaleEpoch;
    /// The decision is in force at this time, and has a time in which it is.
    DecisionTime = "decision_time", Expired;
    /// Key facts and floor are in a decision to activate, and in no other.
    DecisionTerms = "decision_terms", GuardRefused;
    /// Enough distinct governors signed; no signature is bad, double, unsorted or a stranger's.
    DecisionQuorum = "decision_quorum", GuardRefused;
    /// The event carries the key facts it names and no others, signed by every holder.
    KeyReady = "key_ready", GuardRefused;
    /// The key facts fit the cluster: roster, threshold, epoch, public key.
    KeyFacts = "key_facts", GuardRefused;
    /// A new key has a new id and a new public key.
    KeyIsNew = "key_is_new", GuardRefused;
    /// The key is in a state from which this can happen.
    KeyState = "key_state", GuardRefused;
    /// `KeyActivated` rests on an earlier `KeyObjectPublished`, named in `artifact_refs`.
    PublishedBefore = "published_before", GuardRefused;
    /// `KeyActivated` rests on an earlier `TransitionAuthorized` with the same `decision_cid`.
    AuthorizedBefore = "authorized_before", GuardRefused;
    /// The floor can be met by the approver sets that exist.
    Floor = "floor", GuardRefused;
    /// The passport fits: known or new node, next generation, keys used nowhere else.
    Passport = "passport", GuardRefused;
    /// The membership that results can certify heads and hold its keys.
    Membership = "membership", GuardRefused;
    /// The node is known, and the fence rises.
    Fence = "fence", GuardRefused;
    /// The persons of a set are distinct, and the threshold is within reach.
    Persons = "persons", GuardRefused;
    /// The policy root is another than the one in force.
    PolicyRoot = "policy_root", GuardRefused;
    /// The successor is another key, and active.
    Successor = "successor", GuardRefused;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entry or a manifest was refused; the state is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused by rule `{rule}` ({code})")]
pub struct GuardRefused {
    /// Which rule it broke first.
    pub rule: Rule,
    /// The reason code.
    pub code: ReasonCode,
}

impl From<Rule> for GuardRefused {
    fn from(rule: Rule) -> Self {
        Self { rule, code: rule.code() }
    }
}

/// `Ok` if the condition holds; else refused by the rule.
pub(crate) fn ensure(holds: bool, rule: Rule) -> Result<(), GuardRefused> {
    if holds { Ok(()) } else { Err(rule.into()) }
}

/// Whether the entry's decision, if it carries one, is in force now. Members check this before they
/// cosign; an offline fold cannot, because an event has no trusted time.
///
/// # Errors
/// [`Rule::DecisionTime`].
pub fn check_time(entry: &LogEntry, time_ms: u64) -> Result<(), GuardRefused> {
    let window = entry.decision.as_ref().map(|d| (d.decision.not_before_ms, d.decision.expires_ms));
    ensure(window.is_none_or(|(from, to)| (from..=to).contains(&time_ms)), Rule::DecisionTime)
}

/// What every event must keep: cluster, position, link, author, life of the cluster.
pub(crate) fn check_common(state: &AuthorityState, entry: &LogEntry) -> Result<(), GuardRefused> {
    let event: &Event = &entry.event.body;
    ensure(event.cluster == state.cluster, Rule::Cluster)?;
    ensure(event.seq == state.next_seq(), Rule::Seq)?;
    ensure(event.prev_event_cid == state.last_event, Rule::Prev)?;
    let author = state.passport(&event.author).ok_or(Rule::Author)?;
    ensure(entry.event.verify(author.policy_key).is_ok(), Rule::Author)?;
    let mut refs = event.artifact_refs.clone();
    refs.sort();
    refs.dedup();
    let distinct = refs.len() == event.artifact_refs.len();
    ensure(distinct && refs.len() <= REFS_MAX, Rule::Refs)?;
    let forming = state.cluster_state() == ClusterState::Forming;
    let forms = matches!(event.kind, EventKind::ClusterFormed { .. });
    ensure(forms == forming, Rule::ClusterLife)?;
    ensure(state.cluster_state() != ClusterState::Retired, Rule::ClusterLife)
}

/// Key facts travel exactly with the two kinds of event that name them.
pub(crate) fn check_key_ready(
    state: &AuthorityState,
    entry: &LogEntry,
) -> Result<(), GuardRefused> {
    let named = match &entry.event.body.kind {
        EventKind::KeyObjectPublished { key_ready_cid, .. }
        | EventKind::KeyEpochPrepared { key_ready_cid, .. } => Some(*key_ready_cid),
        _ => None,
    };
    match (named, &entry.key_ready) {
        (None, None) => Ok(()),
        (Some(cid), Some(certificate)) => {
            let same = link_of(&certificate.ready) == cid;
            ensure(same && certificate.holds(&state.manifest), Rule::KeyReady)
        }
        _ => Err(Rule::KeyReady.into()),
    }
}
