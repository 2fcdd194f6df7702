//! `dvm evidence export | verify`, `dvm replay`. Verification and replay need no node.

mod wire;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dvm_core::Link;
use dvm_core::reason::ReasonCode;
use dvm_evidence::{Report, replay_bundle};
use dvm_node::setup::TrustFile;
use serde_json::{Value, json};

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::show;

pub(crate) const REPLAY_EXAMPLES: &str = "Example:
  dvm replay bundle.car";

/// Evidence commands.
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Write the bundle of an execution, finished or not, as a CARv1 file.
    #[command(
        after_help = "Example:\n  dvm evidence export bafyreicid --out bundle.car --token-file tokens.json"
    )]
    Export {
        /// Intent CID or execution id.
        id: String,
        /// Where to.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a bundle offline against the cluster you trust. Exit code 6 if it is refused.
    #[command(
        after_help = "Examples:\n  dvm evidence verify bundle.car --trust cluster.json\n  dvm evidence verify bundle.car --cluster bafyreicid --json"
    )]
    Verify {
        /// The bundle.
        bundle: PathBuf,
        /// The trust file that came with the cluster.
        #[arg(
            long,
            value_name = "FILE",
            required_unless_present = "cluster",
            conflicts_with = "cluster"
        )]
        trust: Option<PathBuf>,
        /// Or the cluster's CID itself.
        #[arg(long, value_name = "CID")]
        cluster: Option<String>,
    },
    /// Check captures of what nodes sent: no one-time material twice, no two stories, no opening without all
    /// grants. Needs no node. Exit code 6 if something is there that must not be.
    #[command(
        after_help = "Example:\n  dvm evidence wire n1.capture n2.capture n3.capture --manifest manifest.dagcbor --trust cluster.json"
    )]
    Wire(wire::WireArgs),
}

/// `dvm replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The bundle.
    bundle: PathBuf,
}

/// Runs an evidence command.
pub(crate) fn run(global: &Global, command: &EvidenceCommand) -> Result<Exit, Failure> {
    match command {
        EvidenceCommand::Export { id, out } => {
            let client = global.client()?;
            let bytes =
                show::waiting("collecting every peer's part", || client.evidence(As::Auditor, id))?;
            std::fs::write(out, &bytes).map_err(Failure::file(out))?;
            let path = std::path::absolute(out).map_err(Failure::file(out))?;
            let written = json!({ "bundle_path": path, "bytes": bytes.len() });
            show::print(global.json, &written, |_| {
                format!(
                    "{} ({} bytes)\nNext: dvm evidence verify {} --trust cluster.json",
                    path.display(),
                    bytes.len(),
                    path.display()
                )
            });
            Ok(Exit::Done)
        }
        EvidenceCommand::Verify { bundle, trust, cluster } => {
            let trusted = trusted_cluster(trust.as_deref(), cluster.as_deref())?;
            let bytes = std::fs::read(bundle).map_err(Failure::file(bundle))?;
            let report = dvm_evidence::verify(&bytes, trusted)?;
            show::print(global.json, &report_json(&report), |_| report.lines.join("\n"));
            Ok(Exit::Done)
        }
        EvidenceCommand::Wire(args) => wire::run(global, args),
    }
}

/// The cluster that the caller trusts.
pub(crate) fn trusted_cluster(
    trust: Option<&Path>,
    cluster: Option<&str>,
) -> Result<Link, Failure> {
    let text = match (trust, cluster) {
        (Some(path), _) => {
            let bytes = std::fs::read(path).map_err(Failure::file(path))?;
            let trust: TrustFile =
                serde_json::from_slice(&bytes).map_err(|e| Failure::form(path, e))?;
            trust.cluster
        }
        (None, text) => text.unwrap_or_default().to_owned(),
    };
    text.parse().map_err(|_| Failure::usage(format!("`{text}` is not a cluster's CID")))
}

/// A report as plain data.
pub(crate) fn report_json(report: &Report) -> Value {
    let runs = report.runs.iter().map(|run| {
        json!({
            "peer": run.peer, "execution_id": run.execution_id.hex(),
            "publishes": run.publishes.map(|id| id.hex()), "participants": run.participants,
            "trace_root": run.trace_root.to_string(), "confirmed_level": run.confirmed_level,
            "terminal": run.terminal.as_ref().map(|t| format!("{t:?}")),
        })
    });
    let verdicts = report.verdicts.iter().map(|v| {
        let codes: Vec<&str> = v.codes.iter().map(|c| c.name()).collect();
        json!({
            "peer": v.peer, "stage": v.stage, "verdict": v.verdict, "codes": codes,
            "rules": v.rules, "approvals": v.approvals, "receipt": v.receipt.to_string(),
        })
    });
    let receipts = report.receipts.iter().map(
        |r| json!({ "peer": r.peer, "kind": format!("{:?}", r.kind), "cid": r.link.to_string() }),
    );
    let hex_of = |bytes: &Option<dvm_core::Bytes>| bytes.as_ref().map(|b| hex::encode(&b.0));
    json!({
        "accepted": true,
        "root": report.root.to_string(), "cluster": report.cluster.to_string(),
        "log_size": report.head.size, "intent": report.intent.to_string(),
        "act": report.act.name(), "key_id": report.key_id, "key_epoch": report.key_epoch,
        "requester": report.requester, "display": report.display, "state": report.state.name(),
        "signers": report.signers, "exporter": report.exporter, "complete": report.complete,
        "missing": report.missing, "public_key_hex": hex_of(&report.public_key),
        "result_hex": hex_of(&report.result),
        "runs": runs.collect::<Vec<_>>(), "verdicts": verdicts.collect::<Vec<_>>(),
        "receipts": receipts.collect::<Vec<_>>(), "lines": report.lines,
    })
}

/// Runs `dvm replay`.
pub(crate) fn replay(global: &Global, args: &ReplayArgs) -> Result<Exit, Failure> {
    let bytes = std::fs::read(&args.bundle).map_err(Failure::file(&args.bundle))?;
    let all = replay_bundle(&bytes)?;
    let equal = all.iter().filter(|one| one.equal()).count();
    let rows: Vec<Value> = all
        .iter()
        .map(|one| {
            let (replayed, refused) = match &one.replayed {
                Ok(link) => (Some(link.to_string()), None),
                Err(refused) => (None, Some(refused.to_string())),
            };
            json!({
                "peer": one.peer, "execution_id": one.execution_id.hex(), "equal": one.equal(),
                "recorded": one.recorded.to_string(), "replayed": replayed, "refused": refused,
            })
        })
        .collect();
    let result = json!({ "runs": rows, "equal": equal, "traces": all.len() });
    show::print(global.json, &result, |_| {
        let line = |one: &dvm_evidence::Replayed| {
            let mark = if one.equal() { "same" } else { "DIFFERENT" };
            let run = one.execution_id.hex();
            format!(
                "{mark:<10} {:<8} run {} {}\n",
                one.peer,
                run.get(..8).unwrap_or_default(),
                one.recorded
            )
        };
        all.iter().map(line).collect::<String>()
            + &format!("{equal} of {} traces replay to their root", all.len())
    });
    if equal == all.len() && !all.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::refused(ReasonCode::LogInconsistent, "not every trace replays to its root"))
}
