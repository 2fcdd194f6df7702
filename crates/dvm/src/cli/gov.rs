//! `dvm gov propose | sign | submit | log | verify`: decisions of the governors.
//!
//! A proposal is a file with the decision and the signatures so far; it goes from governor to
//! governor and then to any node. Each governor's command folds the log by itself and shows the
//! whole decision before it signs.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use dvm_core::authority::{ApprovalRule, Floor, ReleaseRule};
use dvm_core::codec;
use dvm_core::governance::{EventKind, SignedDecision};
use dvm_core::intent::ActClass;
use dvm_core::{B32, KeyId, PersonId};
use dvm_governance::{Terms, attach, draft_decision, human_text, note_of, sign_decision};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::fold::{self, Folded};
use crate::person::{KeyArgs, PersonKey};
use crate::show;

/// How long a decision may be used unless the proposer says otherwise.
const LIFE_HOURS: u64 = 24;
/// How far in the past a decision begins, so that a member whose clock is behind takes it.
const CLOCK_SLACK_MS: u64 = 60_000;

/// Governance commands.
#[derive(Debug, Subcommand)]
pub(crate) enum GovCommand {
    /// Write a proposal for the next governor to sign.
    #[command(subcommand)]
    Propose(Change),
    /// Read a proposal and add a signature to it.
    #[command(after_help = "Example:
  dvm gov sign decision.dvm --key-file gov-1.json --passphrase-file gov-1.pass")]
    Sign {
        /// The proposal.
        proposal: PathBuf,
        /// Sign without asking.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Hand a signed decision in; returns when its events are certified.
    #[command(after_help = "Example:\n  dvm gov submit decision.dvm --token-file tokens.json")]
    Submit {
        /// The signed proposal.
        proposal: PathBuf,
    },
    /// The certified events.
    #[command(after_help = "Example:\n  dvm gov log --token-file tokens.json")]
    Log,
    /// Check the whole log here: every event, decision and cosignature.
    #[command(
        after_help = "Example:\n  dvm gov verify --trust cluster.json --token-file tokens.json"
    )]
    Verify {
        /// The trust file that came with the cluster.
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
}

/// What is proposed.
#[derive(Debug, Subcommand)]
pub(crate) enum Change {
    /// Give a published key authority, under a floor.
    #[command(after_help = "Examples:
  dvm gov propose activate treasury --proposer gov-1 --release treasury:2 --out d.dvm
  dvm gov propose activate treasury --proposer gov-1 --admit treasury:1 --release auto --out d.dvm")]
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
}

/// The terms of a decision.
#[derive(Clone, Debug, Args)]
pub(crate) struct TermArgs {
    /// Which governor proposes.
    #[arg(long)]
    proposer: PersonId,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How long it may be used.
    #[arg(long, value_name = "HOURS", default_value_t = LIFE_HOURS)]
    hours: u64,
    /// Refuse a log that is not of this trust file's cluster.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
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

fn act_class(text: &str) -> Result<ActClass, String> {
    ActClass::from_name(text).ok_or_else(|| format!("no act class is called `{text}`"))
}

/// Runs one.
pub(crate) fn run(global: &Global, command: &GovCommand) -> Result<Exit, Failure> {
    match command {
        GovCommand::Propose(change) => propose(global, change),
        GovCommand::Sign { proposal, yes, key } => sign(global, proposal, *yes, key),
        GovCommand::Submit { proposal } => {
            let decision = read(proposal)?;
            let client = global.client()?;
            let answer = show::waiting("waiting for the members' cosignatures", || {
                client.post_artifact(As::Operator, "/v1/governance/decisions", &decision)
            })?;
            show::print(global.json, &answer, |_| {
                format!("decision {} is in force", codec::link_of(&decision.decision))
            });
            Ok(Exit::Done)
        }
        GovCommand::Log => {
            let folded = fold::fetch(&global.client()?, As::Client, None)?;
            show::print(global.json, &log_json(&folded), |_| log_text(&folded));
            Ok(Exit::Done)
        }
        GovCommand::Verify { trust } => {
            let folded = fold::fetch(&global.client()?, As::Client, fold::trusted(Some(trust))?)?;
            show::print(global.json, &log_json(&folded), |_| verified_text(&folded));
            Ok(Exit::Done)
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn transition(change: &Change) -> (EventKind, Option<Floor>, &TermArgs) {
    match change {
        Change::Activate { key, floor, terms } => {
            (EventKind::KeyActivated { key_id: key.clone() }, Some(floor.into()), terms)
        }
        Change::Floor { key, floor, terms } => {
            (EventKind::FloorChanged { key_id: key.clone(), floor: floor.into() }, None, terms)
        }
        Change::Suspend { key, terms } => {
            (EventKind::KeySuspended { key_id: key.clone() }, None, terms)
        }
        Change::Resume { key, terms } => {
            (EventKind::KeyResumed { key_id: key.clone() }, None, terms)
        }
        Change::Deactivate { key, terms } => {
            (EventKind::KeyDeactivated { key_id: key.clone() }, None, terms)
        }
        Change::Hold { terms } => (EventKind::EmergencyHold, None, terms),
        Change::Lift { terms } => (EventKind::EmergencyLift, None, terms),
    }
}

/// The decision for a change at this state, unsigned.
pub(crate) fn draft(
    folded: &Folded,
    (kind, floor): (EventKind, Option<Floor>),
    proposer: PersonId,
    hours: u64,
) -> SignedDecision {
    let now = now_ms();
    let mut nonce = B32::default();
    OsRng.fill_bytes(&mut nonce.0);
    let terms = Terms {
        floor,
        proposer,
        not_before_ms: now.saturating_sub(CLOCK_SLACK_MS),
        expires_ms: now.saturating_add(hours.saturating_mul(3_600_000)),
        nonce,
    };
    let decision = draft_decision(&folded.state, kind, terms);
    SignedDecision { decision, signatures: Vec::new() }
}

/// Adds one governor's signature.
pub(crate) fn add_signature(proposal: &mut SignedDecision, person: &PersonKey) {
    let signature = sign_decision(&proposal.decision, person.person.clone(), &person.key);
    attach(proposal, signature);
}

fn propose(global: &Global, change: &Change) -> Result<Exit, Failure> {
    let (kind, floor, terms) = transition(change);
    let trusted = fold::trusted(terms.trust.as_deref())?;
    let folded = fold::fetch(&global.client()?, As::Operator, trusted)?;
    let proposal = draft(&folded, (kind, floor), terms.proposer.clone(), terms.hours);
    std::fs::write(&terms.out, codec::encode(&proposal)).map_err(Failure::file(&terms.out))?;
    tell(global, &proposal, &terms.out);
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<SignedDecision, Failure> {
    let bytes = std::fs::read(path).map_err(Failure::file(path))?;
    codec::decode(&bytes).map_err(|e| Failure::form(path, e))
}

fn sign(global: &Global, path: &Path, yes: bool, key: &KeyArgs) -> Result<Exit, Failure> {
    let mut proposal = read(path)?;
    show::note(human_text(&proposal.decision));
    show::confirmed(yes, "Sign this decision?")?;
    add_signature(&mut proposal, &key.open()?);
    std::fs::write(path, codec::encode(&proposal)).map_err(Failure::file(path))?;
    tell(global, &proposal, path);
    Ok(Exit::Done)
}

fn tell(global: &Global, proposal: &SignedDecision, path: &Path) {
    let signed: Vec<&str> = proposal.signatures.iter().map(|s| s.governor.as_str()).collect();
    let value = json!({
        "decision": codec::link_of(&proposal.decision).to_string(), "file": path,
        "signed_by": signed, "text": human_text(&proposal.decision),
    });
    show::print(global.json, &value, |_| {
        let by = if signed.is_empty() { "nobody yet".to_owned() } else { signed.join(", ") };
        format!(
            "{}signed by:   {by}\nfile:        {}",
            human_text(&proposal.decision),
            path.display()
        )
    });
}

/// The name of an event's kind.
pub(crate) fn kind_name(kind: &EventKind) -> String {
    let text = format!("{kind:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn log_json(folded: &Folded) -> Value {
    let events = folded.entries.iter().map(|entry| {
        let event = &entry.event.body;
        json!({
            "seq": event.seq, "kind": kind_name(&event.kind), "cid": entry.event.link().to_string(),
            "key_epoch": event.key_epoch, "author": event.author,
            "decision_cid": event.decision_cid.map(|l| l.to_string()),
            "artifact_refs": event.artifact_refs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let head = folded.state.head();
    let cosigners =
        folded.certificate.iter().flat_map(|c| &c.cosignatures).map(|c| c.member.to_string());
    json!({
        "cluster": folded.state.cluster().to_string(), "verified": true, "size": head.size,
        "root": head.root.hex(), "cosigned_by": cosigners.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
    })
}

fn log_text(folded: &Folded) -> String {
    let line = |entry: &dvm_core::governance::LogEntry| {
        let event = &entry.event.body;
        format!(
            "{:>4}  {:<22} by {:<8} {}\n",
            event.seq,
            kind_name(&event.kind),
            event.author,
            entry.event.link()
        )
    };
    folded.entries.iter().map(line).collect()
}

fn verified_text(folded: &Folded) -> String {
    let note = folded.certificate.as_ref().map(|c| note_of(folded.state.manifest(), c));
    format!(
        "{}\nEvery event, decision and cosignature holds. State: {}.\n\n{}",
        log_text(folded),
        folded.state.cluster_state().name(),
        note.unwrap_or_default()
    )
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
    fn kinds_are_shown_by_their_names() {
        assert_eq!(kind_name(&EventKind::EmergencyHold), "EmergencyHold");
        let key_id = "k".parse().unwrap();
        assert_eq!(kind_name(&EventKind::KeyActivated { key_id }), "KeyActivated");
    }
}
