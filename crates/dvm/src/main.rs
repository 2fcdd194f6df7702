//! `dvm`: one binary, the command line and the daemon.
//!
//! Always true: results go to standard output, everything else to standard error; with `--json`
//! standard output carries exactly one JSON document, or, if there is nothing to show, nothing and the
//! last line of standard error is one; the exit code says what kind of failure it was (`cli/exit.rs`).

mod cli;
mod client;
mod fold;
mod person;
mod quickstart;
mod show;

use std::process::ExitCode;

use clap::Parser;

use cli::exit::Failure;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let json = cli.global.json;
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(json);
            failure.exit().into()
        }
    }
}

/// Help and version as they are; a wrong command line in the form that the caller reads.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let failure = Failure::usage(error.render().to_string().trim_end());
        failure.report(true);
        return failure.exit().into();
    }
    error.exit()
}
