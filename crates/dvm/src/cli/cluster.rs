//! `dvm cluster status`.

use clap::Subcommand;
use serde_json::Value;

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::show;

/// Cluster commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// The cluster as one node sees it: state, head, members, processes.
    #[command(
        after_help = "Examples:\n  dvm cluster status --token-file tokens.json\n  dvm cluster status --api http://127.0.0.1:8451 --json"
    )]
    Status,
}

/// Runs it.
pub(crate) fn run(global: &Global, command: &ClusterCommand) -> Result<Exit, Failure> {
    let ClusterCommand::Status = command;
    let status = global.client()?.get(As::Operator, "/v1/status")?;
    show::print(global.json, &status, text);
    Ok(Exit::Done)
}

fn text(status: &Value) -> String {
    let field = |name: &str| match status.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let mut out = format!("node {} of cluster {}\n", field("node"), field("cluster"));
    out += &format!("  state          {}\n", field("cluster_state"));
    out += &format!("  log            {} events, root {}\n", field("log_size"), field("log_root"));
    out += &format!("  policy root    {}\n", field("policy_root"));
    out += &format!("  processes      node {}, kernel {}\n", field("pid"), field("kernel_pid"));
    out += &format!("  operations     {}\n", field("operations"));
    for member in status.get("members").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| member.get(name).and_then(Value::as_str).unwrap_or_default();
        out += &format!(
            "  member         {:<8} {:<5} {}\n",
            text("node"),
            text("link"),
            text("refused")
        );
    }
    out
}
