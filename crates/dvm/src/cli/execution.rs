//! `dvm execution list | show | trace`.

use clap::Subcommand;
use serde_json::Value;

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::show;

/// Execution commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ExecutionCommand {
    /// All executions of the token's tenant; with an auditor's token, of all.
    #[command(after_help = "Example:\n  dvm execution list --token-file tokens.json")]
    List,
    /// One execution. The exit code says how it stands.
    #[command(
        after_help = "Examples:\n  dvm execution show bafyreicid\n  dvm execution show bafyreicid --wait 60 --json"
    )]
    Show {
        /// Intent CID or execution id.
        id: String,
        /// Seconds to wait for a settled state.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// Every event of an execution at this node.
    #[command(after_help = "Example:\n  dvm execution trace bafyreicid --json")]
    Trace {
        /// Intent CID or execution id.
        id: String,
    },
}

/// Runs one.
pub(crate) fn run(global: &Global, command: &ExecutionCommand) -> Result<Exit, Failure> {
    let client = global.client()?;
    match command {
        ExecutionCommand::List => {
            let all = client.executions(As::Auditor).or_else(|_| client.executions(As::Client))?;
            show::print(global.json, &all, |all| {
                let row = |e: &dvm_node::views::ExecutionView| {
                    format!("{:<60} {:<13} {:<20} {}\n", e.intent, e.act, e.key_id, e.state)
                };
                all.iter().map(row).collect()
            });
            Ok(Exit::Done)
        }
        ExecutionCommand::Show { id, wait } => {
            let wait_ms = wait.saturating_mul(1000);
            let view = show::waiting("waiting", || client.settled(As::Client, id, wait_ms))?;
            Ok(super::sign::tell(global, &view))
        }
        ExecutionCommand::Trace { id } => {
            // The execution's own route checks the id; the trace is another view of the same.
            let intent = client.execution(As::Client, id, 0)?.intent;
            let trace = client.get(As::Client, &format!("/v1/executions/{intent}/trace"))?;
            show::print(global.json, &trace, text);
            Ok(Exit::Done)
        }
    }
}

fn text(trace: &Value) -> String {
    let mut out = String::new();
    for run in trace.get("runs").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| match run.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "-".to_owned(),
        };
        out += &format!("run {}\n", field("execution_id"));
        for (name, value) in run.as_object().into_iter().flatten() {
            match value {
                Value::Array(items) => {
                    out += &format!("  {name}:\n");
                    for item in items {
                        let line = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                        out += &format!("    {line}\n");
                    }
                }
                _ if name == "execution_id" => {}
                _ => out += &format!("  {name}: {}\n", field(name)),
            }
        }
    }
    out
}
