//! `dvm execution list | show | trace`.

use clap::{Subcommand, ValueEnum};
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
    /// How far an execution is at this node: its sites, its steps, what it waits for.
    #[command(
        after_help = "Examples:\n  dvm execution trace bafyreicid --json\n  dvm execution trace bafyreicid --level l1"
    )]
    Trace {
        /// Intent CID or execution id.
        id: String,
        /// Only the sites (l1), the same words for every backend; or only the steps (l0).
        #[arg(long, value_enum)]
        level: Option<TraceLevel>,
    },
}

/// What to show of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceLevel {
    /// The sites of the score. What the kernel did within one is told by the microtrace's root alone.
    L1,
    /// The steps of the plan.
    L0,
}

impl TraceLevel {
    fn shows(self, field: &str) -> bool {
        let detail = match self {
            Self::L1 => ["sites", "microtrace_root"],
            Self::L0 => ["steps", "backend"],
        };
        ["execution_id", "kind", "participants", "terminal"].contains(&field)
            || detail.contains(&field)
    }
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
        ExecutionCommand::Trace { id, level } => {
            // The execution's own route checks the id; the trace is another view of the same.
            let intent = client.execution(As::Client, id, 0)?.intent;
            let mut trace = client.get(As::Client, &format!("/v1/executions/{intent}/trace"))?;
            if let Some(level) = level {
                narrow(&mut trace, *level);
            }
            show::print(global.json, &trace, text);
            Ok(Exit::Done)
        }
    }
}

/// Leaves what a level shows of each run.
fn narrow(trace: &mut Value, level: TraceLevel) {
    for run in trace.get_mut("runs").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = run.as_object_mut() {
            fields.retain(|name, _| level.shows(name));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sites_are_shown_without_the_backend_and_steps_without_the_sites() {
        let run = json!({
            "execution_id": "e", "kind": "act", "participants": [], "terminal": null, "backend": "b/1",
            "sites": [1], "steps": [2], "microtrace_root": "m", "plan_id": "p", "events": 3,
        });
        let fields = |level| {
            let mut trace = json!({ "runs": [run.clone()] });
            narrow(&mut trace, level);
            let mut fields: Vec<_> =
                trace["runs"][0].as_object().unwrap().keys().cloned().collect();
            fields.sort();
            fields
        };
        let both = ["execution_id", "kind", "microtrace_root", "participants", "sites", "terminal"];
        assert_eq!(fields(TraceLevel::L1), both);
        let steps = ["backend", "execution_id", "kind", "participants", "steps", "terminal"];
        assert_eq!(fields(TraceLevel::L0), steps);
    }
}
