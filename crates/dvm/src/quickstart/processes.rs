//! The daemons of the quickstart: started, watched, stopped.
//!
//! Always true: each child ends with this process, also if this one is killed, because its standard
//! input is a pipe that only this process holds.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dvm_node::setup::MadeMember;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::site::Site;
use crate::cli::exit::Failure;
use crate::show;

/// How long an orderly end may take before a process is killed.
const STOP_TIME: Duration = Duration::from_secs(10);
/// Lines of a log that are shown when its process ended by itself.
const LOG_LINES: usize = 8;

struct Running {
    name: String,
    member: String,
    log: PathBuf,
    child: Child,
    noted: bool,
}

/// All of them. Dropping it stops them.
pub(crate) struct Processes {
    running: Vec<Running>,
}

impl Processes {
    /// Starts every member of the cluster.
    pub(crate) fn start(site: &Site) -> Result<Self, Failure> {
        let mut all = Self { running: Vec::new() };
        for node in &site.cluster.nodes {
            all.spawn("node", node)?;
        }
        for witness in &site.cluster.witnesses {
            all.spawn("witness", witness)?;
        }
        Ok(all)
    }

    fn spawn(&mut self, role: &str, member: &MadeMember) -> Result<(), Failure> {
        let log = member.dir.join(format!("{role}.log"));
        let own = std::env::current_exe().map_err(Failure::file(Path::new("dvm")))?;
        let file = File::create(&log).map_err(Failure::file(&log))?;
        let child = Command::new(&own)
            .args([role, "run", "--until-stdin-ends", "--config"])
            .arg(&member.config)
            // A ctrl-c is for the quickstart alone, which then stops its children in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(Failure::file(&own))?;
        let name = format!("{role} {}", member.id);
        self.running.push(Running {
            name,
            member: member.id.to_string(),
            log,
            child,
            noted: false,
        });
        Ok(())
    }

    /// The process id of a member.
    pub(crate) fn pid(&self, member: &str) -> Option<u32> {
        let found = self.running.iter().find(|one| one.member == member);
        found.map(|one| one.child.id())
    }

    /// Fails if one has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        for one in &mut self.running {
            if let Ok(Some(status)) = one.child.try_wait() {
                let problem =
                    format!("ended by itself ({status}); its log ends with:\n{}", tail(&one.log));
                return Err(Failure::Process { what: one.name.clone(), problem });
            }
        }
        Ok(())
    }

    /// Says once of each process that it ended.
    pub(crate) fn note_ended(&mut self) {
        for one in &mut self.running {
            if let (false, Ok(Some(status))) = (one.noted, one.child.try_wait()) {
                one.noted = true;
                show::note(format!("{} ended ({status})", one.name));
            }
        }
    }

    /// Stops all in order; whoever does not end in time is killed.
    pub(crate) fn stop(&mut self) {
        for one in &mut self.running {
            // A process that has ended already needs no signal.
            if let (Ok(None), Ok(pid)) = (one.child.try_wait(), i32::try_from(one.child.id())) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        let deadline = Instant::now() + STOP_TIME;
        for one in &mut self.running {
            while let Ok(None) = one.child.try_wait() {
                if Instant::now() >= deadline {
                    // It fails only if the process ended just now.
                    let _ = one.child.kill();
                    let _ = one.child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.running.clear();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}
