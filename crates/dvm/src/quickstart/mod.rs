//! `dvm quickstart`: a whole cluster on this machine, and the whole life of a key and a signature.
//!
//! Always true: nothing is played; the nodes, kernels and the witness are the shipped daemons, and
//! everything is done through their API with the commands' own code. The keys of governors and
//! approvers are labelled as demo. No process is left behind, however this one ends.

mod facts;
mod people;
mod processes;
mod site;
mod story;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use clap::Args;

use crate::cli::Global;
use crate::cli::exit::{Exit, Failure};
use crate::cli::node::asked_to_stop;
use crate::show;
use facts::Facts;
use processes::Processes;
use site::Site;

pub(crate) const EXAMPLES: &str = "Examples:
  dvm quickstart
  dvm quickstart --once --dir /tmp/dvm-demo --file README.md
  dvm quickstart --once --json";

/// How often the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// `dvm quickstart`.
#[derive(Clone, Debug, Args)]
pub(crate) struct QuickstartArgs {
    /// Where everything goes; a new directory. A temporary one if absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Stop when the story is told; a temporary directory is then removed.
    #[arg(long)]
    once: bool,
    /// The file to sign; a text of its own if absent.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Keep everything that each node sends, in `wire.capture` in its directory.
    #[arg(long)]
    record_wire: bool,
}

enum Happened {
    Told(Box<Result<Facts, Failure>>),
    Signal,
}

/// Runs it.
pub(crate) fn run(global: &Global, args: &QuickstartArgs) -> Result<Exit, Failure> {
    let (report, happened) = channel();
    watch_signals(report.clone())?;
    // Dropped last: its directory must outlive the processes.
    let mut site = Site::create(args.dir.as_deref(), args.file.as_deref(), args.once)?;
    if args.record_wire {
        site.record_wire()?;
    }
    let teller = story::Teller { silent: global.json };
    teller.opening(&site);
    let mut processes = Processes::start(&site)?;
    tell(site.for_story()?, teller, report);
    let facts = match wait(&happened, &mut processes)? {
        Some(facts) => facts,
        None => return Err(stopped_early()),
    };
    if global.json {
        show::line(serde_json::to_string(&facts.json(&site, &processes)).unwrap_or_default());
    } else {
        teller.ending(&site, &facts, args.once);
    }
    if args.once {
        processes.stop();
        site.clean_up();
        return Ok(Exit::Done);
    }
    stay(&happened, &mut processes);
    processes.stop();
    Ok(Exit::Done)
}

fn stopped_early() -> Failure {
    Failure::Process {
        what: "quickstart".to_owned(),
        problem: "stopped by a signal before the story was told".to_owned(),
    }
}

fn watch_signals(report: Sender<Happened>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Process {
        what: "quickstart".to_owned(),
        problem: format!("no signal handling: {error}"),
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    std::thread::spawn(move || {
        runtime.block_on(asked_to_stop(false));
        // The receiver lives as long as the command.
        let _ = report.send(Happened::Signal);
    });
    Ok(())
}

fn tell(site: site::StorySite, teller: story::Teller, report: Sender<Happened>) {
    std::thread::spawn(move || {
        let told = story::tell(&site, teller);
        // The receiver lives as long as the command.
        let _ = report.send(Happened::Told(Box::new(told)));
    });
}

/// The story's facts; none after a signal. A process that ends meanwhile fails the story.
fn wait(
    happened: &Receiver<Happened>,
    processes: &mut Processes,
) -> Result<Option<Facts>, Failure> {
    loop {
        match happened.recv_timeout(LOOK_EVERY) {
            Ok(Happened::Told(told)) => return told.map(Some),
            Ok(Happened::Signal) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => processes.check()?,
        }
    }
}

/// Stays until a signal. A node that is killed meanwhile is part of what there is to try.
fn stay(happened: &Receiver<Happened>, processes: &mut Processes) {
    loop {
        match happened.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => processes.note_ended(),
            _ => return,
        }
    }
}
