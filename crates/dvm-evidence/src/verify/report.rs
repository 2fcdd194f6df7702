//! The report on an accepted bundle: facts for programs, and a chronicle for people from the same facts.

use std::collections::BTreeSet;

use dvm_core::admission::{Purpose, Verdict};
use dvm_core::bytes::{B32, Bytes};
use dvm_core::codec::link_of;
use dvm_core::governance::HeadRef;
use dvm_core::intent::ActClass;
use dvm_core::reason::ReasonCode;
use dvm_core::run::RunKind;
use dvm_core::sign::Signed;
use dvm_core::trace::Terminal;
use dvm_core::{KeyId, Link, NodeId, PersonId};

use crate::peer::PeerEvidence;
use crate::read::Bundle;
use crate::verify::result::Outcome;
use crate::verify::{Case, CheckedRun};

/// How far an intent came, as far as the bundle shows. Words of the execution states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The result is out and verified.
    Published,
    /// What was made lies in the signers' kernels, for later acts.
    Stashed,
    /// A share is out; the signature may exist.
    Opening,
    /// A held result was destroyed.
    Discarded,
    /// The result is held.
    Executed,
    /// A run has begun and not ended.
    Running,
    /// One-time material was in doubt, and the run ended for it.
    Poisoned,
    /// The last run stopped.
    Aborted,
    /// A person or a policy said no.
    Denied,
    /// Approvals are missing.
    AwaitingApproval,
    /// Somebody admitted it.
    Admitted,
    /// Nobody judged it.
    Proposed,
}

impl Reached {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "Published",
            Self::Stashed => "Stashed",
            Self::Opening => "Opening",
            Self::Discarded => "Discarded",
            Self::Executed => "Executed",
            Self::Running => "Running",
            Self::Poisoned => "Poisoned",
            Self::Aborted => "Aborted",
            Self::Denied => "Denied",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Admitted => "Admitted",
            Self::Proposed => "Proposed",
        }
    }
}

/// One peer's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// The peer.
    pub peer: NodeId,
    /// The run.
    pub execution_id: B32,
    /// For a publication: the act run whose result it publishes.
    pub publishes: Option<B32>,
    /// Everybody in it.
    pub participants: Vec<NodeId>,
    /// The signed TraceRoot.
    pub trace_root: Link,
    /// Levels that every participant confirmed.
    pub confirmed_level: u16,
    /// How it ended; none while it runs.
    pub terminal: Option<Terminal>,
}

/// One verdict of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictReport {
    /// The peer.
    pub peer: NodeId,
    /// `admit`, `release`, or `gate` for its kernel's own word.
    pub stage: &'static str,
    /// Yes, no, not yet.
    pub verdict: Verdict,
    /// Why.
    pub codes: Vec<ReasonCode>,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// Approvals that counted.
    pub approvals: usize,
    /// The receipt.
    pub receipt: Link,
}

/// Which receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// AdmissionReceipt.
    Admission,
    /// PermitReceipt.
    Permit,
    /// PublicationReceipt.
    Publication,
}

/// One receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptReport {
    /// Whose.
    pub peer: NodeId,
    /// Which.
    pub kind: ReceiptKind,
    /// Its link.
    pub link: Link,
}

/// What an accepted bundle shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The bundle's root.
    pub root: Link,
    /// The trusted cluster.
    pub cluster: Link,
    /// The certified head of its log.
    pub head: HeadRef,
    /// The intent.
    pub intent: Link,
    /// What was asked.
    pub act: ActClass,
    /// Of which key.
    pub key_id: KeyId,
    /// And epoch.
    pub key_epoch: u32,
    /// By whom.
    pub requester: PersonId,
    /// The text that approvers were shown.
    pub display: String,
    /// How far it came.
    pub state: Reached,
    /// Participants of the publication, or else of the last act run.
    pub signers: Vec<NodeId>,
    /// Verdicts in order, by peer.
    pub verdicts: Vec<VerdictReport>,
    /// Runs in order, by peer.
    pub runs: Vec<RunReport>,
    /// Every receipt, by peer.
    pub receipts: Vec<ReceiptReport>,
    /// The public key that signed or was made.
    pub public_key: Option<Bytes>,
    /// The signature; for a key the bytes of its facts' link.
    pub result: Option<Bytes>,
    /// Participants whose part is not in the bundle.
    pub missing: Vec<NodeId>,
    /// Whether no check had to be left out for a missing part.
    pub complete: bool,
    /// Who exported it.
    pub exporter: NodeId,
    /// The same in sentences.
    pub lines: Vec<String>,
}

pub(crate) fn report(
    case: &Case<'_>,
    bundle: &Bundle,
    runs: &[CheckedRun<'_>],
    (outcome, complete): (Outcome, bool),
) -> Report {
    let act = case.act.act();
    let parts = &case.parts.parts;
    let here: BTreeSet<&NodeId> = parts.iter().map(|p| &p.node).collect();
    let needed: BTreeSet<&NodeId> = runs.iter().flat_map(|run| run.ctx.participants()).collect();
    let missing: Vec<NodeId> = needed.difference(&here).map(|n| (*n).clone()).collect();
    let last = runs.iter().rev().find(|run| run.of().is_some()).or_else(|| runs.last());
    let mut report = Report {
        root: bundle.root,
        cluster: case.history.cluster(),
        head: case.history.last().head(),
        intent: case.intent,
        act: act.class(),
        key_id: act.key_id().clone(),
        key_epoch: act.key_epoch(),
        requester: case.parts.intent.requester.clone(),
        display: case.act.display().text().to_owned(),
        state: reached((parts, case.act.act().publishes()), runs, &outcome),
        signers: last.map(|run| run.ctx.participants().to_vec()).unwrap_or_default(),
        verdicts: parts.iter().flat_map(verdicts).collect(),
        runs: runs.iter().map(run_report).collect(),
        receipts: parts.iter().flat_map(receipts).collect(),
        public_key: outcome.ready.as_ref().map(|r| r.public_key.clone()),
        result: outcome.result,
        complete: complete && missing.is_empty(),
        missing,
        exporter: case.parts.exporter.clone(),
        lines: Vec::new(),
    };
    report.lines = chronicle(&report);
    report
}

fn reached(
    (parts, publishes): (&[PeerEvidence], bool),
    runs: &[CheckedRun<'_>],
    outcome: &Outcome,
) -> Reached {
    let publications = || runs.iter().flat_map(|run| &run.run.publications);
    let aborted = |code: Option<ReasonCode>| {
        let of = |run: &CheckedRun<'_>| {
            let receipt = run.run.permit_receipt.as_ref().and_then(|r| r.body.aborted);
            receipt.is_some_and(|why| code.is_none_or(|code| code == why))
        };
        runs.iter().any(of)
    };
    let says =
        |verdict| parts.iter().flat_map(|p| &p.admissions).any(|a| a.body.verdict == verdict);
    let acts = || runs.iter().filter(|run| run.of().is_none());
    let holds = acts()
        .any(|run| run.run.permit_receipt.as_ref().is_some_and(|r| r.body.result_ref.is_some()));
    let denied = parts.iter().any(|part| !part.denials.is_empty()) || says(Verdict::Deny);
    match () {
        () if outcome.result.is_some() => Reached::Published,
        () if runs.iter().any(|run| run.of().is_some() && run.spoke(2)) => Reached::Opening,
        () if publications().any(|p| p.body.destroyed) => Reached::Discarded,
        () if holds && !publishes => Reached::Stashed,
        () if holds => Reached::Executed,
        () if acts().any(|run| run.run.trace_root.body.terminal.is_none()) => Reached::Running,
        () if aborted(Some(ReasonCode::MaterialPoisoned)) => Reached::Poisoned,
        () if parts.iter().any(|part| !part.denials.is_empty()) => Reached::Denied,
        () if acts().next().is_some() || aborted(None) => Reached::Aborted,
        () if denied => Reached::Denied,
        () if says(Verdict::Awaiting) && !says(Verdict::Allow) => Reached::AwaitingApproval,
        () if says(Verdict::Allow) => Reached::Admitted,
        () => Reached::Proposed,
    }
}

fn run_report(run: &CheckedRun<'_>) -> RunReport {
    let root = &run.run.trace_root.body;
    RunReport {
        peer: run.part.node.clone(),
        execution_id: run.ctx.execution_id(),
        publishes: match run.ctx.header().kind {
            RunKind::Act { .. } => None,
            RunKind::Publish { of, .. } => Some(of),
        },
        participants: run.ctx.participants().to_vec(),
        trace_root: link_of(root),
        confirmed_level: root.confirmed_level,
        terminal: root.terminal.clone(),
    }
}

fn verdicts(part: &PeerEvidence) -> Vec<VerdictReport> {
    let judged = part.admissions.iter().map(|a| VerdictReport {
        peer: part.node.clone(),
        stage: if a.body.purpose == Purpose::Admit { "admit" } else { "release" },
        verdict: a.body.verdict,
        codes: a.body.codes.clone(),
        rules: a.body.rules.clone(),
        approvals: a.body.approvals.len(),
        receipt: a.link(),
    });
    let at_gate = part.runs.iter().flat_map(|run| &run.publications).map(|p| VerdictReport {
        peer: part.node.clone(),
        stage: "gate",
        verdict: p.body.verdict,
        codes: p.body.codes.clone(),
        rules: Vec::new(),
        approvals: p.body.approvals.len(),
        receipt: p.link(),
    });
    judged.chain(at_gate).collect()
}

fn receipts(part: &PeerEvidence) -> Vec<ReceiptReport> {
    let named = |kind, link| ReceiptReport { peer: part.node.clone(), kind, link };
    let admissions = part.admissions.iter().map(|a| named(ReceiptKind::Admission, a.link()));
    let runs = part.runs.iter().flat_map(|run| {
        let permit = run.permit_receipt.iter().map(Signed::link);
        let gate = run.publications.iter().map(Signed::link);
        let permit = permit.map(|link| named(ReceiptKind::Permit, link));
        permit.chain(gate.map(|link| named(ReceiptKind::Publication, link)))
    });
    admissions.chain(runs).collect()
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

fn verdict_line(v: &VerdictReport) -> String {
    let said = match v.verdict {
        Verdict::Allow => "yes",
        Verdict::Deny => "no",
        Verdict::Awaiting => "not yet",
    };
    let why: Vec<&str> =
        v.codes.iter().map(|c| c.name()).chain(v.rules.iter().map(String::as_str)).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    let approvals = match v.approvals {
        0 => String::new(),
        1 => ", with 1 approval".to_owned(),
        n => format!(", with {n} approvals"),
    };
    let (peer, stage, receipt) = (&v.peer, v.stage, v.receipt);
    match stage {
        "gate" => {
            format!("At the gate the kernel of {peer} said {said}{why}{approvals}: {receipt}")
        }
        stage => format!("{peer} judged ({stage}) and said {said}{why}{approvals}: {receipt}"),
    }
}

fn run_line(run: &RunReport) -> String {
    let what = if run.publishes.is_some() { "published" } else { "performed the act" };
    let end = match &run.terminal {
        None => "still runs".to_owned(),
        Some(Terminal::Done) => "done".to_owned(),
        Some(Terminal::Benign(code)) => format!("stopped: {code}"),
        Some(Terminal::Blamed { code, culprit }) => format!("stopped: {code} by {culprit}"),
    };
    let (peer, id, root) = (&run.peer, run.execution_id, run.trace_root);
    let with = names(&run.participants);
    format!("{peer} {what} in run {id} of {with}: {end}; its trace replays to {root}")
}

/// The report for people.
fn chronicle(report: &Report) -> Vec<String> {
    let mut lines = vec![
        format!("Cluster {}, log certified up to entry {}.", report.cluster, report.head.size),
        format!(
            "{} asked for `{}` with key `{}` (epoch {}): {}",
            report.requester,
            report.act.name(),
            report.key_id,
            report.key_epoch,
            report.intent
        ),
    ];
    lines.extend(report.verdicts.iter().filter(|v| v.stage == "admit").map(verdict_line));
    lines.extend(report.runs.iter().filter(|r| r.publishes.is_none()).map(run_line));
    lines.extend(report.verdicts.iter().filter(|v| v.stage != "admit").map(verdict_line));
    lines.extend(report.runs.iter().filter(|r| r.publishes.is_some()).map(run_line));
    if let Some(result) = &report.result {
        let what =
            if report.act == ActClass::KeyGenerate { "The key's facts" } else { "The signature" };
        lines.push(format!("{what}, verified: {}", hex(result)));
    }
    lines.push(format!("State reached: {}.", report.state.name()));
    if !report.missing.is_empty() {
        lines.push(format!("Not in this bundle: the parts of {}.", names(&report.missing)));
    }
    if !report.complete {
        lines.push("Some statements could not be held against all peers' parts.".to_owned());
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
