//! `cargo xtask deny`: the dependencies against `deny.toml`.
//!
//! Licences, bans and sources are always judged. Advisories are judged when their database can
//! be fetched; when it cannot, the task says that they were not, and that alone is no failure:
//! a build without a network must be able to pass.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    task::{self, Stop, Workspace},
    tools,
};

/// How long the advisory database may take to arrive before it counts as out of reach.
const FETCH_LIMIT: Duration = Duration::from_secs(120);

/// Runs `cargo-deny`, installing it first where that is allowed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Stop> {
    let deny = tools::cargo_deny(workspace)?;
    task::run(
        &mut workspace.command(&deny, &["--workspace", "check", "licenses", "bans", "sources"]),
    )?;
    let mut fetch = workspace.command(&deny, &["fetch", "db"]);
    // Never wait for a password: nobody is there to type one. Its errors are shown: they say
    // why the database did not come.
    fetch.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    let child = fetch
        .spawn()
        .map_err(|cause| Stop::Unusable { what: deny.display().to_string(), cause })?;
    if !ends_well(child, FETCH_LIMIT) {
        eprintln!("-- deny: ADVISORIES WERE NOT CHECKED: their database could not be fetched");
        return Ok(());
    }
    task::run(
        &mut workspace.command(&deny, &["--workspace", "check", "--disable-fetch", "advisories"]),
    )
}

/// Whether the child exits with 0 within the limit; past it, the child is ended.
fn ends_well(mut child: Child, limit: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(_) => break,
        }
    }
    // Both calls fail only if the child is gone already.
    child.kill().and_then(|()| child.wait()).is_ok_and(|_| false)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn spawn(program: &str, arg: &str) -> Child {
        Command::new(program).arg(arg).spawn().unwrap()
    }

    #[test]
    fn a_fetch_counts_only_if_it_succeeds_in_time() {
        assert!(ends_well(spawn("sleep", "0"), Duration::from_secs(30)));
        assert!(!ends_well(spawn("false", ""), Duration::from_secs(30)));
        assert!(!ends_well(spawn("sleep", "30"), Duration::from_millis(100)));
    }
}
