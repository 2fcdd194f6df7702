//! `dvm gov propose | sign | submit | log | verify`: decisions of the governors.
//!
//! A proposal is a file with the decision and the signatures so far; it goes from governor to
//! governor and then to any node. `propose`, `log` and `verify` fold the log by themselves; `sign`
//! needs no node, and shows the whole decision before it signs. What can be proposed is in
//! `gov/change.rs`.

mod change;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use change::Change;
use clap::Subcommand;
use dvm_core::authority::Floor;
use dvm_core::codec;
use dvm_core::governance::{EventKind, SignedDecision};
use dvm_core::reason::ReasonCode;
use dvm_core::{B32, KeyId, PersonId};
use dvm_governance::{Rule, Terms, attach, draft_decision, human_text, note_of, sign_decision};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::fold::{self, Folded};
use crate::person::{KeyArgs, PersonKey};
use crate::show;

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
            })
            .map_err(with_advice)?;
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
    let (kind, floor, terms) = (change.kind()?, change.floor(), change.terms());
    let trusted = fold::trusted(terms.trust.as_deref())?;
    let folded = fold::fetch(&global.client()?, As::Operator, trusted)?;
    change::names_known(&folded.state, &kind, change)?;
    let proposal = draft(&folded, (kind, floor), terms.proposer.clone(), terms.hours);
    std::fs::write(&terms.out, codec::encode(&proposal)).map_err(Failure::file(&terms.out))?;
    tell(global, &proposal, &terms.out);
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<SignedDecision, Failure> {
    let bytes = std::fs::read(path).map_err(Failure::file(path))?;
    codec::decode(&bytes).map_err(|e| Failure::form(path, format!("not a proposal: {e}")))
}

/// A refusal by a rule of the log, with what a person can do about it.
fn with_advice(failure: Failure) -> Failure {
    let Failure::Refused { code, message } = failure else { return failure };
    let named = |rule: &&Rule| message.contains(&format!("`{}`", rule.name()));
    let advice = match code {
        // The sequencer judges last, and what it refuses then it only logs.
        ReasonCode::RemoteTimeout => Some(
            "or the key's or the cluster's state does not allow it: see `dvm key show`, \
             `dvm cluster status`, and `event refused` in the sequencer's log",
        ),
        _ => Rule::ALL.iter().find(named).and_then(|rule| advice(*rule)),
    };
    Failure::Refused {
        code,
        message: advice.map_or(message.clone(), |a| format!("{message}: {a}")),
    }
}

fn advice(rule: Rule) -> Option<&'static str> {
    match rule {
        Rule::DecisionQuorum => Some(
            "too few governors signed, or somebody who is none did. Have another governor run \
             `dvm gov sign`; unless the manifest says otherwise, the proposer's own does not count",
        ),
        Rule::DecisionHead => {
            Some("the log has moved since it was proposed: propose and sign again")
        }
        Rule::DecisionTime => Some("it is past its time, or not in force yet: propose again"),
        Rule::KeyState => Some("the key is not in a state for this: see `dvm key show`"),
        Rule::Floor => Some("the floor asks for approvers that do not exist"),
        Rule::ClusterCondition => {
            Some("the cluster's state does not allow it: see `dvm cluster status`")
        }
        Rule::PolicyRoot => Some("this policy root is in force already"),
        Rule::Successor => Some("the successor must be another key, and active"),
        Rule::Persons => Some("persons and keys must be distinct, and the threshold within reach"),
        _ => None,
    }
}

fn sign(global: &Global, path: &Path, yes: bool, key: &KeyArgs) -> Result<Exit, Failure> {
    let mut proposal = read(path)?;
    if !yes {
        show::note(human_text(&proposal.decision));
    }
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
        let path = path.display();
        format!(
            "{}signed by:   {by}\nfile:        {path}\nNext: dvm gov sign {path} for each governor, \
             then dvm gov submit {path}",
            human_text(&proposal.decision),
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
            "seq": event.seq, "kind": kind_name(&event.kind), "key_id": change::key_of(&event.kind),
            "cid": entry.event.link().to_string(),
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
            "{:>4}  {:<22} {:<16} by {:<8} {}\n",
            event.seq,
            kind_name(&event.kind),
            change::key_of(&event.kind).map(KeyId::as_str).unwrap_or_default(),
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
    fn a_refusal_by_a_rule_of_the_log_says_what_to_do() {
        let refused = |rule: Rule| {
            let message = format!("refused by rule `{rule}`");
            with_advice(Failure::refused(rule.code(), message)).to_string()
        };
        assert!(refused(Rule::DecisionQuorum).contains("another governor"));
        assert!(refused(Rule::DecisionHead).contains("propose and sign again"));
        assert!(refused(Rule::Author).ends_with("refused by rule `author`"));
    }

    #[test]
    fn kinds_are_shown_by_their_names() {
        assert_eq!(kind_name(&EventKind::EmergencyHold), "EmergencyHold");
        let key_id = "k".parse().unwrap();
        assert_eq!(kind_name(&EventKind::KeyActivated { key_id }), "KeyActivated");
    }
}
