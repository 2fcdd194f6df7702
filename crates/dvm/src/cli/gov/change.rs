//! What can be proposed to the governors, as command line arguments, and what becomes of it.
//!
//! Always true: a proposal that the log at hand cannot take by its names (proposer, key, approver set,
//! member) is not written. Whether the key or cluster is in a state for it, the members judge.
//!
//! Not here: changes of members, and events that only nodes make.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dvm_core::authority::{ApprovalRule, ApproverSet, Floor, Governors, Person, ReleaseRule};
use dvm_core::governance::EventKind;
use dvm_core::ids::SetName;
use dvm_core::intent::ActClass;
use dvm_core::reason::ReasonCode;
use dvm_core::{B32, KeyId, Link, NodeId, PersonId, PublicKey};
use dvm_governance::AuthorityState;

use crate::cli::exit::Failure;

/// How long a decision may be used unless the proposer says otherwise.
const LIFE_HOURS: u64 = 24;

/// What is proposed.
#[derive(Debug, Subcommand)]
pub(crate) enum Change {
    /// Give a published key authority, under a floor.
    #[command(after_help = "Examples:
  dvm gov propose activate treasury --proposer gov-1 --release treasury:2 --out d.dvm
  dvm gov propose activate treasury --proposer gov-1 --admit treasury:1 --release auto --out d.dvm
  dvm gov propose activate eth --proposer gov-1 --acts sign.evm_transaction --release treasury:1 --out d.dvm")]
    Activate {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        floor: FloorArgs,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Change an active key's floor.
    #[command(after_help = "Example:
  dvm gov propose floor treasury --proposer gov-1 --release treasury:2 --out d.dvm")]
    Floor {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        floor: FloorArgs,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Stop a key for now.
    #[command(
        after_help = "Example:\n  dvm gov propose suspend treasury --proposer gov-1 --out d.dvm"
    )]
    Suspend {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Let a suspended key sign again.
    #[command(
        after_help = "Example:\n  dvm gov propose resume treasury --proposer gov-1 --out d.dvm"
    )]
    Resume {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// End a key's signing for ever; it stays good for verifying.
    #[command(
        after_help = "Example:\n  dvm gov propose deactivate treasury --proposer gov-1 --out d.dvm"
    )]
    Deactivate {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Stop the whole cluster; one governor is enough.
    #[command(after_help = "Example:\n  dvm gov propose hold --proposer gov-1 --out d.dvm")]
    Hold {
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Lift an emergency hold.
    #[command(after_help = "Example:\n  dvm gov propose lift --proposer gov-1 --out d.dvm")]
    Lift {
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Let a frozen key try again: too many failed final checks had stopped it.
    #[command(
        after_help = "Example:\n  dvm gov propose unfreeze treasury --proposer gov-1 --out d.dvm"
    )]
    Unfreeze {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Let a node that was banned for cheating take part in a key again.
    #[command(
        after_help = "Example:\n  dvm gov propose unban treasury --node n2 --proposer gov-1 --out d.dvm"
    )]
    Unban {
        /// The key.
        key: KeyId,
        /// The banned node.
        #[arg(long)]
        node: NodeId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Say that a key may be known to somebody: it never signs again.
    #[command(
        after_help = "Example:\n  dvm gov propose compromise treasury --proposer gov-1 --out d.dvm"
    )]
    Compromise {
        /// The key.
        key: KeyId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// End a key in favour of another one that is active.
    #[command(
        after_help = "Example:\n  dvm gov propose rotate old --successor new --proposer gov-1 --out d.dvm"
    )]
    Rotate {
        /// The key that ends.
        key: KeyId,
        /// The one that takes over.
        #[arg(long)]
        successor: KeyId,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Put other policy files in force. Nodes admit nothing until theirs are these.
    #[command(after_help = "Examples:
  dvm gov propose policy-root --policies new-policies --proposer gov-1 --out d.dvm
  dvm gov propose policy-root --root bafyreicid --proposer gov-1 --out d.dvm")]
    PolicyRoot {
        /// The directory with the new `.cedar` files; they are validated.
        #[arg(long, value_name = "DIR", required_unless_present = "root", conflicts_with = "root")]
        policies: Option<PathBuf>,
        /// Or the root itself.
        #[arg(long, value_name = "CID")]
        root: Option<String>,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Make a set of approvers, or replace one whole.
    #[command(after_help = "Example (each person gives what `dvm person show` prints):
  dvm gov propose approver-set treasury --member alice=3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29 --proposer gov-1 --out d.dvm")]
    ApproverSet {
        /// Its name.
        set: SetName,
        /// Every member, as PERSON=PUBLIC-KEY.
        #[arg(long = "member", value_name = "PERSON=KEY", required = true, value_parser = person)]
        members: Vec<Person>,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Replace the governors.
    #[command(after_help = "Example (each person gives what `dvm person show` prints):
  dvm gov propose governors --threshold 1 --member ann=3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29 --proposer gov-1 --out d.dvm")]
    Governors {
        /// Signatures that a decision needs.
        #[arg(long)]
        threshold: u16,
        /// Every governor, as PERSON=PUBLIC-KEY.
        #[arg(long = "member", value_name = "PERSON=KEY", required = true, value_parser = person)]
        members: Vec<Person>,
        /// A proposer's own signature counts.
        #[arg(long)]
        proposer_counts: bool,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// End the cluster for ever; no key may be active.
    #[command(after_help = "Example:\n  dvm gov propose retire --proposer gov-1 --out d.dvm")]
    Retire {
        #[command(flatten)]
        terms: TermArgs,
    },
}

/// The terms of a decision.
#[derive(Clone, Debug, Args)]
pub(crate) struct TermArgs {
    /// Which governor proposes.
    #[arg(long)]
    pub(super) proposer: PersonId,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// How long it may be used.
    #[arg(long, value_name = "HOURS", default_value_t = LIFE_HOURS)]
    pub(super) hours: u64,
    /// Refuse a log that is not of this trust file's cluster.
    #[arg(long, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
}

/// A floor: what every kernel enforces by itself, whatever the policies say.
#[derive(Clone, Debug, Args)]
pub(crate) struct FloorArgs {
    /// Approvals before an act runs, as SET:K; none if absent.
    #[arg(long, value_name = "SET:K", value_parser = rule)]
    admit: Option<ApprovalRule>,
    /// When a result may leave: `auto`, or approvals as SET:K.
    #[arg(long, value_name = "auto|SET:K", value_parser = release_rule)]
    release: ReleaseRule,
    /// The act classes allowed.
    #[arg(long, value_delimiter = ',', default_value = "sign.message", value_parser = act_class)]
    acts: Vec<ActClass>,
    /// Openings per rolling hour.
    #[arg(long, default_value_t = 1_000)]
    per_hour: u32,
    /// Failed final checks before the key freezes.
    #[arg(long, default_value_t = 5)]
    freeze_after: u32,
}

impl From<&FloorArgs> for Floor {
    fn from(args: &FloorArgs) -> Self {
        let mut acts = args.acts.clone();
        acts.sort();
        acts.dedup();
        Self {
            admit: args.admit.clone(),
            release: args.release.clone(),
            acts,
            executions_per_hour: args.per_hour,
            failures_to_freeze: args.freeze_after,
        }
    }
}

fn rule(text: &str) -> Result<ApprovalRule, String> {
    let form = || "a rule is SET:K, such as treasury:2".to_owned();
    let (set, k) = text.rsplit_once(':').ok_or_else(form)?;
    let (set, k) = (set.parse().map_err(|_| form())?, k.parse().map_err(|_| form())?);
    if k == 0 {
        Err("a rule asks for one approval or more".to_owned())
    } else {
        Ok(ApprovalRule { set, k })
    }
}

fn release_rule(text: &str) -> Result<ReleaseRule, String> {
    if text == "auto" { Ok(ReleaseRule::Auto) } else { rule(text).map(ReleaseRule::Approvals) }
}

fn person(text: &str) -> Result<Person, String> {
    let form = || "a member is PERSON=PUBLIC-KEY; `dvm person show` prints it".to_owned();
    let (name, key) = text.split_once('=').ok_or_else(form)?;
    let key = PublicKey(B32::from_hex(key).ok_or_else(form)?);
    Ok(Person { person: name.parse().map_err(|_| form())?, key })
}

fn act_class(text: &str) -> Result<ActClass, String> {
    let known = ActClass::ALL.map(ActClass::name).join(", ");
    ActClass::from_name(text)
        .ok_or_else(|| format!("no act class is called `{text}`; there are {known}"))
}

impl Change {
    /// The terms.
    pub(super) fn terms(&self) -> &TermArgs {
        match self {
            Self::Activate { terms, .. }
            | Self::Floor { terms, .. }
            | Self::Suspend { terms, .. }
            | Self::Resume { terms, .. }
            | Self::Deactivate { terms, .. }
            | Self::Hold { terms }
            | Self::Lift { terms }
            | Self::Unfreeze { terms, .. }
            | Self::Unban { terms, .. }
            | Self::Compromise { terms, .. }
            | Self::Rotate { terms, .. }
            | Self::PolicyRoot { terms, .. }
            | Self::ApproverSet { terms, .. }
            | Self::Governors { terms, .. }
            | Self::Retire { terms } => terms,
        }
    }

    /// The floor that an activation gives.
    pub(super) fn floor(&self) -> Option<Floor> {
        match self {
            Self::Activate { floor, .. } => Some(floor.into()),
            _ => None,
        }
    }

    /// What is to be decided.
    pub(super) fn kind(&self) -> Result<EventKind, Failure> {
        Ok(match self {
            Self::Activate { key, .. } => EventKind::KeyActivated { key_id: key.clone() },
            Self::Floor { key, floor, .. } => {
                EventKind::FloorChanged { key_id: key.clone(), floor: floor.into() }
            }
            Self::Suspend { key, .. } => EventKind::KeySuspended { key_id: key.clone() },
            Self::Resume { key, .. } => EventKind::KeyResumed { key_id: key.clone() },
            Self::Deactivate { key, .. } => EventKind::KeyDeactivated { key_id: key.clone() },
            Self::Hold { .. } => EventKind::EmergencyHold,
            Self::Lift { .. } => EventKind::EmergencyLift,
            Self::Unfreeze { key, .. } => EventKind::KeyUnfrozen { key_id: key.clone() },
            Self::Unban { key, node, .. } => {
                EventKind::PairUnbanned { key_id: key.clone(), node: node.clone() }
            }
            Self::Compromise { key, .. } => EventKind::KeyCompromised { key_id: key.clone() },
            Self::Rotate { key, successor, .. } => {
                EventKind::KeyRotated { key_id: key.clone(), successor: successor.clone() }
            }
            Self::PolicyRoot { policies, root, .. } => {
                let policy_root = policy_root(policies.as_deref(), root.as_deref())?;
                EventKind::PolicyRootAdopted { policy_root }
            }
            Self::ApproverSet { set, members, .. } => {
                let set = ApproverSet { name: set.clone(), members: persons(members) };
                EventKind::ApproverSetAdopted { set }
            }
            Self::Governors { threshold, members, proposer_counts, .. } => {
                let (threshold, proposer_counts) = (*threshold, *proposer_counts);
                let governors = Governors { threshold, members: persons(members), proposer_counts };
                EventKind::GovernorsChanged { governors }
            }
            Self::Retire { .. } => EventKind::ClusterRetired,
        })
    }
}

fn policy_root(policies: Option<&Path>, root: Option<&str>) -> Result<Link, Failure> {
    if let Some(directory) = policies {
        let policies = dvm_node::config::read_policies(directory)?;
        if policies.bundle().files.is_empty() {
            // Valid, and it would deny everything: more likely a wrong directory.
            return Err(Failure::form(directory, "has no `.cedar` file"));
        }
        return Ok(policies.policy_root());
    }
    let text = root.unwrap_or_default();
    text.parse().map_err(|_| Failure::usage(format!("`{text}` is not the CID of a policy root")))
}

/// Sorted by name, as the log keeps them.
fn persons(given: &[Person]) -> Vec<Person> {
    let mut persons = given.to_vec();
    persons.sort_by(|a, b| a.person.cmp(&b.person));
    persons
}

/// The key that an event is about.
pub(super) fn key_of(kind: &EventKind) -> Option<&KeyId> {
    match kind {
        EventKind::KeyObjectPublished { key_id, .. }
        | EventKind::TransitionAuthorized { key_id }
        | EventKind::KeyActivated { key_id }
        | EventKind::FloorChanged { key_id, .. }
        | EventKind::KeySuspended { key_id }
        | EventKind::KeyResumed { key_id }
        | EventKind::KeyEpochPrepared { key_id, .. }
        | EventKind::KeyEpochActivated { key_id }
        | EventKind::KeyEpochCancelled { key_id }
        | EventKind::KeyRotated { key_id, .. }
        | EventKind::KeyUnfrozen { key_id }
        | EventKind::PairUnbanned { key_id, .. }
        | EventKind::KeyDeactivated { key_id }
        | EventKind::KeyCompromised { key_id }
        | EventKind::KeyDestroyed { key_id } => Some(key_id),
        _ => None,
    }
}

/// Whether the log at hand knows the names in a change: governors would only sign it for nothing.
pub(super) fn names_known(
    state: &AuthorityState,
    kind: &EventKind,
    change: &Change,
) -> Result<(), Failure> {
    let proposer = &change.terms().proposer;
    let governors = &state.manifest().governors.members;
    if !governors.iter().any(|p| p.person == *proposer) {
        let names: Vec<&str> = governors.iter().map(|p| p.person.as_str()).collect();
        let message = format!("`{proposer}` is no governor; these are: {}", names.join(", "));
        return Err(Failure::usage(message));
    }
    if let Some(key_id) = key_of(kind).filter(|key_id| state.key(key_id).is_none()) {
        let message = format!("the log knows no key `{key_id}`; see `dvm key list`");
        return Err(Failure::refused(ReasonCode::NotFound, message));
    }
    let floor = match kind {
        EventKind::FloorChanged { floor, .. } => Some(floor.clone()),
        _ => change.floor(),
    };
    floor.map_or(Ok(()), |floor| approvers_known(state, &floor))
}

fn approvers_known(state: &AuthorityState, floor: &Floor) -> Result<(), Failure> {
    let release = match &floor.release {
        ReleaseRule::Auto => None,
        ReleaseRule::Approvals(rule) => Some(rule),
    };
    for rule in [floor.admit.as_ref(), release].into_iter().flatten() {
        let members = state.sets().get(&rule.set).map_or(0, |set| set.members.len());
        if members < usize::from(rule.k) {
            let message = format!(
                "{} of `{}` can never approve: it has {members} members. \
                 See `dvm gov propose approver-set --help`",
                rule.k, rule.set
            );
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_a_set_and_at_least_one_approval() {
        assert_eq!(rule("treasury:1").unwrap().k, 1);
        for bad in ["treasury", "treasury:0", "treasury:x", ":1", "a b:1"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
        assert_eq!(release_rule("auto"), Ok(ReleaseRule::Auto));
    }

    #[test]
    fn a_member_is_a_person_and_a_whole_public_key() {
        let key = "1f".repeat(32);
        let alice = person(&format!("alice={key}")).unwrap();
        assert_eq!((alice.person.as_str(), alice.key.to_string()), ("alice", key.clone()));
        let short = &key[1..];
        for bad in
            [key.clone(), format!("={key}"), format!("alice={short}"), format!("alice:{key}")]
        {
            assert!(person(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_are_kept_in_order_of_their_names() {
        let given = ["b", "a"].map(|name| person(&format!("{name}={}", "1f".repeat(32))).unwrap());
        let names: Vec<String> = persons(&given).iter().map(|p| p.person.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
