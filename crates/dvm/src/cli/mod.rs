//! The command line: what there is, and where each command lives.
//!
//! Always true: every command takes `--json`; each has examples in its help; each ends with an exit
//! code of the table in `exit.rs`.

mod cluster;
mod evidence;
mod execution;
pub(crate) mod exit;
pub(crate) mod gov;
mod kernel;
mod key;
pub(crate) mod node;
pub(crate) mod people;
mod person;
mod score;
pub(crate) mod sign;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use dvm_core::reason::ReasonCode;

use crate::client::{Client, Tokens};
use crate::quickstart;
pub(crate) use evidence::trusted_cluster;
use exit::{Exit, Failure};

/// Where a node listens unless its configuration says otherwise.
const DEFAULT_API: &str = "http://127.0.0.1:8450";

/// Threshold signing keys under policy, with evidence that an outsider can check.
#[derive(Debug, Parser)]
#[command(name = "dvm", version, after_help = exit::table(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text; a failure as one JSON line on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The node to ask.
    #[arg(long, global = true, value_name = "URL", env = "DVM_API", default_value = DEFAULT_API)]
    pub(crate) api: String,
    /// The bearer token; prefer --token-file, which other users cannot see.
    #[arg(long, global = true, value_name = "TOKEN", env = "DVM_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the token, or with a JSON object of tokens by role.
    #[arg(long, global = true, value_name = "FILE", env = "DVM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Global {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let tokens = match (&self.token, &self.token_file) {
            (Some(token), _) => Tokens::One(token.clone()),
            (None, Some(file)) => Tokens::read(file)?,
            (None, None) => {
                let message = "name a token: --token-file FILE, or DVM_TOKEN_FILE or DVM_TOKEN";
                return Err(Failure::refused(ReasonCode::NotAuthorized, message));
            }
        };
        Ok(Client::new(&self.api, tokens))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A whole cluster on this machine: see a key made, a file signed, and the evidence checked.
    #[command(after_help = quickstart::EXAMPLES)]
    Quickstart(quickstart::QuickstartArgs),
    /// Run a node.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Run a witness.
    #[command(subcommand)]
    Witness(node::WitnessCommand),
    /// Look at a secret kernel.
    #[command(subcommand)]
    Kernel(kernel::KernelCommand),
    /// Look at the cluster.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Make and look at keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make and look at the key files of governors and approvers.
    #[command(subcommand)]
    Person(person::PersonCommand),
    /// Propose, sign, submit and check governance decisions.
    #[command(subcommand)]
    Gov(gov::GovCommand),
    /// Have something signed.
    #[command(subcommand)]
    Sign(sign::SignCommand),
    /// Approve an act, or the release of its result.
    #[command(after_help = people::APPROVE_EXAMPLES)]
    Approve(people::ApproveArgs),
    /// Say no: ends the intent and destroys a held result.
    #[command(after_help = people::DENY_EXAMPLES)]
    Deny(people::DenyArgs),
    /// Try the gate of a held result again.
    #[command(after_help = people::RELEASE_EXAMPLES)]
    Release(people::ReleaseArgs),
    /// Look at executions.
    #[command(subcommand)]
    Execution(execution::ExecutionCommand),
    /// Export evidence bundles, and check them offline.
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Run every trace of a bundle again and compare the roots.
    #[command(after_help = evidence::REPLAY_EXAMPLES)]
    Replay(evidence::ReplayArgs),
    /// Show how an act is performed.
    #[command(subcommand)]
    Score(score::ScoreCommand),
}

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Quickstart(args) => quickstart::run(global, &args),
        Command::Node(command) => node::run_node(&command),
        Command::Witness(command) => node::run_witness(&command),
        Command::Kernel(command) => kernel::run(global, &command),
        Command::Cluster(command) => cluster::run(global, &command),
        Command::Key(command) => key::run(global, &command),
        Command::Person(command) => person::run(global, &command),
        Command::Gov(command) => gov::run(global, &command),
        Command::Sign(command) => sign::run(global, &command),
        Command::Approve(args) => people::approve(global, &args),
        Command::Deny(args) => people::deny(global, &args),
        Command::Release(args) => people::release(global, &args),
        Command::Execution(command) => execution::run(global, &command),
        Command::Evidence(command) => evidence::run(global, &command),
        Command::Replay(args) => evidence::replay(global, &args),
        Command::Score(command) => score::run(global, &command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn leaves(command: &clap::Command, path: String, found: &mut Vec<(String, String)>) {
        let subs: Vec<_> = command.get_subcommands().filter(|s| s.get_name() != "help").collect();
        if subs.is_empty() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            found.push((path.clone(), help));
        }
        for sub in subs {
            leaves(sub, format!("{path} {}", sub.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        let command = Cli::command();
        command.clone().debug_assert();
        let mut found = Vec::new();
        leaves(&command, "dvm".to_owned(), &mut found);
        assert!(found.len() > 20);
        for (path, help) in found {
            let examples: Vec<&str> =
                help.lines().map(str::trim).filter(|line| line.starts_with("dvm ")).collect();
            assert!(examples.iter().any(|e| e.starts_with(&path)), "{path} has no example");
            for example in examples {
                let parsed = Cli::try_parse_from(example.split_whitespace());
                assert!(parsed.is_ok(), "{example}: {}", parsed.err().unwrap());
            }
        }
    }
}
