//! `dvm evidence wire`: checks captures of what nodes put on the wire.
//!
//! Not here: the rules; they are in `dvm_node::capture`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use dvm_core::reason::ReasonCode;
use dvm_node::capture::{Checker, Found, Reader};
use dvm_node::config::read_manifest;
use serde_json::{Value, json};

use super::trusted_cluster;
use crate::cli::Global;
use crate::cli::exit::{Exit, Failure};
use crate::show;

/// `dvm evidence wire`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WireArgs {
    /// Captures, as `record_wire` of a node's configuration makes them; best of all nodes.
    #[arg(required = true)]
    captures: Vec<PathBuf>,
    /// The cluster's manifest, which names the kernels' keys.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
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
}

/// Runs it.
pub(super) fn run(global: &Global, args: &WireArgs) -> Result<Exit, Failure> {
    let cluster = trusted_cluster(args.trust.as_deref(), args.cluster.as_deref())?;
    let manifest = read_manifest(&args.manifest, &cluster.to_string())?;
    let mut checker = Checker::new(&manifest);
    let words = "reading what was sent";
    show::waiting(words, || args.captures.iter().try_for_each(|path| take(&mut checker, path)))?;
    let found = checker.finish();
    show::print(global.json, &as_json(&found), |_| as_text(&found));
    if found.complained == 0 {
        return Ok(Exit::Done);
    }
    let message = format!("{} statements that must not be on any wire", found.complained);
    Err(Failure::refused(ReasonCode::LogInconsistent, message))
}

fn take(checker: &mut Checker, path: &Path) -> Result<(), Failure> {
    let file = File::open(path).map_err(Failure::file(path))?;
    let mut reader = Reader::new(BufReader::new(file)).map_err(|e| Failure::form(path, e))?;
    while let Some(record) = reader.next_record().map_err(|e| Failure::form(path, e))? {
        checker.message(&record.from, &record.message);
    }
    Ok(())
}

fn as_json(found: &Found) -> Value {
    let complaints = found
        .complaints
        .iter()
        .map(|c| json!({ "rule": c.rule.name(), "node": c.node, "what": c.what }));
    json!({
        "accepted": found.complained == 0, "messages": found.messages, "frames": found.frames,
        "act_runs": found.act_runs, "one_time_ids": found.one_time_ids,
        "materials": found.materials, "shares": found.shares,
        "boots": found.boots, "unproposed_runs": found.unproposed_runs,
        "unjudged_openings": found.unjudged_openings, "complained": found.complained,
        "complaints": complaints.collect::<Vec<_>>(),
    })
}

fn as_text(found: &Found) -> String {
    let Found { messages, frames, act_runs, one_time_ids, materials, shares, boots, .. } = found;
    let mut text = format!(
        "{messages} messages of {boots} kernel boots: {frames} frames, {act_runs} act runs\n\
         {one_time_ids} pieces of one-time material, each in one run only\n\
         {materials} presignatures, each spent in one run only\n\
         {shares} shares, each opened after every signer's grant\n",
    );
    if found.complained > 0 {
        text = format!("{} complaints about {messages} messages\n", found.complained);
    }
    for complaint in &found.complaints {
        let line = format!("{:<22} {} {}\n", complaint.rule.name(), complaint.node, complaint.what);
        text.push_str(&line);
    }
    if found.unjudged_openings > 0 {
        let line = format!(
            "{} openings not judged: their proposal, or a signer's capture, is missing\n",
            found.unjudged_openings
        );
        text.push_str(&line);
    }
    text
}
