//! Runs named tests of the weakened tree, with at most one mutant on, and says how that ended.
//!
//! Always true: a run ends; it counts as passed or failed only if exactly the named tests ran.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{
    controls::build::Built,
    task::Stop,
    weaken::{Mutant, TestRef},
};

/// How long a run may take before it counts as hung: a cluster of processes needs half a minute.
const RUN_LIMIT: Duration = Duration::from_secs(240);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every test passed.
    Passed,
    /// A test failed, or its process died.
    Failed,
    /// Not all of them are there.
    Absent,
    /// The limit passed.
    Hung,
}

/// Runs tests that are all of one target.
pub(crate) fn run(built: &Built, tests: &[&TestRef], on: Option<&Mutant>) -> Result<Ended, Stop> {
    let Some((test, executable)) =
        tests.first().and_then(|test| Some((test, built.executable(test)?)))
    else {
        return Ok(Ended::Absent);
    };
    let mut command = Command::new(executable);
    command.arg("--exact").args(tests.iter().map(|test| &test.name));
    command.current_dir(built.directory(&test.package)).env_remove("DVM_WEAK");
    command.env("DVM_BIN_DIR", &built.bins).stdin(Stdio::null());
    if let Some(mutant) = on {
        command.env("DVM_WEAK", &mutant.name);
    }
    let unusable = |cause| Stop::Unusable { what: executable.display().to_string(), cause };
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(unusable)?;
    Ok(ended(child, tests.len(), RUN_LIMIT))
}

/// Waits for a test runner that should run this many tests.
fn ended(mut child: Child, tests: usize, limit: Duration) -> Ended {
    // Its output is read beside the wait, else a full pipe would be a hang.
    let reader = child.stdout.take().map(|mut output| {
        thread::spawn(move || {
            let mut said = Vec::new();
            output.read_to_end(&mut said).map(|_| said).unwrap_or_default()
        })
    });
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < limit => thread::sleep(Duration::from_millis(20)),
            _ => {
                // Both fail only if the child is gone already.
                let _ = child.kill().and_then(|()| child.wait());
                return Ended::Hung;
            }
        }
    };
    let said = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    if !ran(&said, tests) {
        Ended::Absent
    } else if status.success() {
        Ended::Passed
    } else {
        Ended::Failed
    }
}

/// Whether the runner says that it ran this many tests, and skipped none of them.
fn ran(said: &str, tests: usize) -> bool {
    let plural = if tests == 1 { "" } else { "s" };
    let opening = format!("running {tests} test{plural}");
    said.lines().any(|line| line.trim() == opening) && !said.contains("... ignored")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_run_counts_only_if_the_named_tests_ran() {
        let long = Duration::from_secs(30);
        assert_eq!(ended(shell("echo running 1 test"), 1, long), Ended::Passed);
        assert_eq!(ended(shell("echo running 1 test; exit 101"), 1, long), Ended::Failed);
        assert_eq!(ended(shell("echo running 1 test; kill -9 $$"), 1, long), Ended::Failed);
        assert_eq!(ended(shell("echo running 0 tests"), 1, long), Ended::Absent);
        assert_eq!(ended(shell("echo running 1 test; exit 101"), 2, long), Ended::Absent);
        let ignored = "echo running 1 test; echo 'test a ... ignored'";
        assert_eq!(ended(shell(ignored), 1, long), Ended::Absent);
    }

    #[test]
    fn a_run_that_does_not_end_is_ended() {
        let short = Duration::from_millis(100);
        assert_eq!(ended(shell("exec sleep 30"), 1, short), Ended::Hung);
    }
}
