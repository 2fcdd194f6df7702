//! The project's own tasks, started as `cargo xtask TASK`.
//!
//! Each task lives in the module of its name; this file only finds the task and turns its end
//! into an exit code: 0 done, 1 something failed, 2 the command line was not understood.
//!
//! Not here: anything that ships. No crate may depend on this one (`tidy/levels.rs`).

mod campaign;
mod controls;
mod deny;
mod fix;
mod fuzz;
mod mutants;
mod mutation;
mod quickstart;
mod sim;
mod task;
mod test;
mod tidy;
mod tools;
mod verify;
mod weaken;

use std::process::ExitCode;

use task::{Stop, Workspace};

const HELP: &str = include_str!("help.txt");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("{stop}");
            ExitCode::from(stop.exit_code())
        }
    }
}

fn dispatch(args: &[String]) -> Result<(), Stop> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        // First, because `--help` after it belongs to `dvm quickstart`.
        ["quickstart", ..] => {
            quickstart::run(&Workspace::find()?, args.get(1..).unwrap_or_default())
        }
        [] | ["help" | "--help" | "-h", ..] | [_, "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        ["verify"] => verify::run(&Workspace::find()?),
        ["test"] => test::run(&Workspace::find()?),
        ["fix"] => fix::run(&Workspace::find()?),
        ["tidy"] => tidy::run(&Workspace::find()?),
        ["tidy", "--bless-kernel-deps"] => tidy::bless_kernel_deps(&Workspace::find()?),
        ["deny"] => deny::run(&Workspace::find()?),
        ["campaign", ..] => campaign::run(&Workspace::find()?, args.get(1..).unwrap_or_default()),
        ["controls"] => controls::run(&Workspace::find()?, controls::Which::Quick),
        ["controls", "--all"] => controls::run(&Workspace::find()?, controls::Which::All),
        ["controls", "--only", name] => {
            controls::run(&Workspace::find()?, controls::Which::Only(name))
        }
        ["fuzz", ..] => fuzz::run(&Workspace::find()?, args.get(1..).unwrap_or_default()),
        ["mutants"] => mutants::run(&Workspace::find()?, None),
        ["mutants", "--only", name] => mutants::run(&Workspace::find()?, Some(name)),
        ["mutation"] => mutation::run(&Workspace::find()?, None),
        ["mutation", module] => mutation::run(&Workspace::find()?, Some(module)),
        ["sim", ..] => sim::run(&Workspace::find()?, args.get(1..).unwrap_or_default()),
        ["weaken"] => weaken::run(&Workspace::find()?),
        _ => Err(Stop::Usage { given: args.join(" ") }),
    }
}
