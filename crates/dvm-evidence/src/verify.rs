//! The verdict on a bundle: whether it hangs together, from a trusted cluster id to the last byte.
//!
//! Source: `spec/evidence.md`, whose numbered steps these modules follow. Offline, total, bounded:
//! everything is derived again by the code that nodes and kernels run (fold, floors, lowering,
//! planner, interpreter) or checked against a signature.
//!
//! Always true of an accepted bundle: each statement in it is signed by whom it says, at a head of
//! the certified log, under the rules in force there; each trace replays to the root that its peer
//! signed; and what peers say of one another agrees.
//!
//! Not here: what a bundle leaves out. A peer's missing part is named in the report, not refused; a
//! receipt left out is missed by the next one of that peer on the intent, and the last one is not
//! (`spec/evidence.md`, 4).

mod agree;
mod ban;
mod chain;
mod gate;
mod history;
mod key;
mod opening;
mod report;
mod result;
mod run;
mod verdict;

use std::collections::BTreeMap;

use dvm_act::ParsedAct;
use dvm_core::codec::{Artifact, link_of};
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::verify_link;

use crate::bundle::BundleInput;
use crate::manifest::BundleManifest;
use crate::read::{self, Bundle};
use history::History;
pub use report::{Reached, ReceiptKind, ReceiptReport, Report, RunReport, VerdictReport};
pub(crate) use run::{CheckedRun, context};

/// A bundle was refused: the first thing in it that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{link}`: {what} ({code})")]
pub struct Refused {
    /// Where: a path within the bundle such as `peers/n2/runs/0/trace_root`, or a CID.
    pub link: String,
    /// The reason code.
    pub code: ReasonCode,
    /// The rule that does not hold.
    pub what: &'static str,
}

impl Refused {
    pub(crate) fn at(link: impl Into<String>, what: &'static str) -> Self {
        Self { link: link.into(), code: ReasonCode::LogInconsistent, what }
    }

    pub(crate) fn code(link: impl Into<String>, code: ReasonCode, what: &'static str) -> Self {
        Self { link: link.into(), code, what }
    }
}

/// `Ok` if the rule holds; else refused there.
pub(crate) fn ensure(holds: bool, path: &str, what: &'static str) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused::at(path, what)) }
}

/// What every check rests on: the parts, the act they are about, and the certified log.
pub(crate) struct Case<'a> {
    pub(crate) parts: &'a BundleInput,
    pub(crate) intent: Link,
    pub(crate) act: ParsedAct,
    pub(crate) history: History,
}

impl<'a> Case<'a> {
    /// The log folded and certified, the intent parsed with its content.
    pub(crate) fn new(parts: &'a BundleInput) -> Result<Self, Refused> {
        let history = History::fold(parts)?;
        let intent = link_of(&parts.intent);
        ensure(
            parts.intent.cluster == history.cluster(),
            "intent",
            "the intent is of another cluster",
        )?;
        let content = parts.content.as_ref().map(|c| c.0.as_slice());
        let act = dvm_act::parse(&parts.intent, content).map_err(|error| {
            Refused::code(
                "intent",
                error.code(),
                "the act does not parse, or is not what was shown",
            )
        })?;
        Ok(Self { parts, intent, act, history })
    }
}

/// Verifies a bundle against the id of the cluster that the auditor trusts: the link of its genesis
/// manifest.
///
/// # Errors
/// [`Refused`] names the first thing that does not hold.
pub fn verify(car: &[u8], trusted_cluster: Link) -> Result<Report, Refused> {
    let bundle = read::read(car)?;
    let parts = &bundle.parts;
    let ours = link_of(&parts.manifest) == trusted_cluster;
    ensure(ours, "cluster", "the cluster is not the trusted one")?;
    let case = Case::new(parts)?;
    check_exporter(&case, &bundle)?;
    history::check_policy(&case)?;

    let mut runs: Vec<CheckedRun<'_>> = Vec::new();
    for part in &parts.parts {
        let path = format!("peers/{}", part.node);
        let known = case.history.knows(&part.node);
        ensure(known, &path, "the peer is no node of the cluster")?;
        verdict::check_people(&case, part)?;
        verdict::check_admissions(&case, part)?;
        let checked = run::check_runs(&case, part)?;
        gate::check_statements(&case, part, &checked)?;
        chain::check_chain(&case, part)?;
        runs.extend(checked);
    }
    check_admissions_of_others(&case)?;
    let frames_complete = agree::check_frames(&runs)?;
    let grants_complete = gate::check_grants(&runs)?;
    let outcome = result::check_result(&case, &runs)?;
    let complete = frames_complete && grants_complete && outcome.complete;
    Ok(report::report(&case, &bundle, &runs, (outcome, complete)))
}

fn check_exporter(case: &Case<'_>, bundle: &Bundle) -> Result<(), Refused> {
    let passport = case.history.last().passport(&bundle.parts.exporter);
    let key = passport.map(|p| p.policy_key);
    let key =
        key.ok_or_else(|| Refused::at("exporter", "the exporter is no node of the cluster"))?;
    let holds = verify_link(&bundle.cose, key, BundleManifest::SCHEMA, &bundle.manifest);
    let what = "the manifest is not signed by the exporter's policy key";
    if holds { Ok(()) } else { Err(Refused::code("root", ReasonCode::BindingMismatch, what)) }
}

/// An opening rests on its node's admission; where that node's part is here, so is the admission.
fn check_admissions_of_others(case: &Case<'_>) -> Result<(), Refused> {
    let by_node: BTreeMap<_, _> = case.parts.parts.iter().map(|p| (&p.node, p)).collect();
    for part in &case.parts.parts {
        for (i, run) in part.runs.iter().enumerate() {
            for (k, open) in run.proposal.opens.iter().enumerate() {
                let Some(other) = by_node.get(&open.body.node) else { continue };
                let path = format!("peers/{}/runs/{i}/opens/{k}", part.node);
                run::check_open_rests(other, open, &path)?;
            }
        }
    }
    Ok(())
}
