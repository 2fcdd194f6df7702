//! `dvm`: one binary, the command line and the daemon.
//!
//! Always true: results go to standard output, everything else to standard error; with `--json`
//! standard output carries exactly one JSON document; the exit code says what kind of failure it
//! was (`cli/exit.rs`).

mod cli;
mod client;
mod fold;
mod person;
mod quickstart;
mod show;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let json = cli.global.json;
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(json);
            failure.exit().into()
        }
    }
}
