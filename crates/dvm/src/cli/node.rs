//! `dvm node run`, `dvm witness run`: the daemons. Logs are JSON lines on standard error; SIGTERM
//! and ctrl-c end them in order.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dvm_node::config::{NodeConfig, WitnessConfig};
use dvm_node::node::NodeFault;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::exit::{Exit, Failure};

/// Node commands.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Run a node until SIGTERM. Log level by RUST_LOG.
    #[command(after_help = "Example:\n  dvm node run --config /etc/dvm/node.toml")]
    Run {
        #[command(flatten)]
        run: RunArgs,
    },
}

/// Witness commands.
#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Run a witness until SIGTERM. Log level by RUST_LOG.
    #[command(after_help = "Example:\n  dvm witness run --config /etc/dvm/witness.toml")]
    Run {
        #[command(flatten)]
        run: RunArgs,
    },
}

/// How to run a daemon.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Its configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End also when standard input does: for a parent that must not leave it behind.
    #[arg(long)]
    until_stdin_ends: bool,
}

/// Runs a node.
pub(crate) fn run_node(command: &NodeCommand) -> Result<Exit, Failure> {
    let NodeCommand::Run { run } = command;
    let config = NodeConfig::load(&run.config)?;
    let until = run.until_stdin_ends;
    daemon(async { dvm_node::node::run_node(config, asked_to_stop(until)).await })
}

/// Runs a witness.
pub(crate) fn run_witness(command: &WitnessCommand) -> Result<Exit, Failure> {
    let WitnessCommand::Run { run } = command;
    let config = WitnessConfig::load(&run.config)?;
    let until = run.until_stdin_ends;
    daemon(async { dvm_node::node::run_witness(config, asked_to_stop(until)).await })
}

fn daemon(work: impl Future<Output = Result<(), NodeFault>>) -> Result<Exit, Failure> {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(level).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| NodeFault::Io { part: "runtime", error })?;
    runtime.block_on(work)?;
    Ok(Exit::Done)
}

/// Completes on SIGTERM or ctrl-c, or at the end of standard input if asked to watch it.
pub(crate) async fn asked_to_stop(until_stdin_ends: bool) {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        // Without handlers a signal ends the process at once, which every start recovers from.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_ends(), if until_stdin_ends => {}
    }
}

async fn stdin_ends() {
    let (ended, end) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for a blocked read of its pool.
    std::thread::spawn(move || {
        // Whatever comes is thrown away; an error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // After another cause to stop nobody waits for this one.
        let _ = ended.send(());
    });
    // The sender is dropped only with its thread, which is an end too.
    let _ = end.await;
}
