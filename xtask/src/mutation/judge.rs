//! Runs the tests with one change on at a time, until one of them notices.
//!
//! Before that every test runs alone with no change on: it must pass, and what it asked about says which changes it can
//! notice at all. A change is tried with the tests that come to it; first, one by one, some that are quick for what they
//! noticed so far.
//! Always true: a change counts as noticed only if a test failed, died or hung while it was on, and as missed only if
//! every test that comes to it passed; a test that was to run and did not stops the task.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::{build::Built, compose::Change};
use crate::task::{self, Stop};

/// A test that says nothing for so much longer than it took alone hangs: a slow machine is not a changed loop.
const PATIENCE: (Duration, u32) = (Duration::from_secs(90), 10);
/// So many tests are tried one by one before all others.
const FIRST: usize = 4;
/// Having noticed another change to the same function counts so many times.
const NEIGHBOUR: u32 = 4;

/// One test, and what is known from its run with no change on.
#[derive(Debug)]
struct Test {
    /// Which executable.
    target: usize,
    name: String,
    took: Duration,
    /// The changes that it comes to.
    asks: BTreeSet<String>,
}

/// What noticed a change: the test, and how, if it did not just fail. None: it was missed.
pub(crate) type Verdict = Option<String>;

/// What the tests say about each change, in order.
pub(crate) fn judge(built: &Built, changes: &[&Change]) -> Result<Vec<Verdict>, Stop> {
    let tests = alone(built)?;
    eprintln!("-- {} tests pass with no change on", tests.len());
    // How often each test noticed a change: in a body, and at all.
    let noticed: Mutex<BTreeMap<(Option<usize>, usize), u32>> = Mutex::default();
    let missed = Mutex::new(0_usize);
    each(changes.len(), |at| {
        let Some(change) = changes.get(at) else { return Ok(None) };
        let tally = noticed.lock().map(|tally| tally.clone()).unwrap_or_default();
        let body = Some(change.body.start);
        let mut order: Vec<usize> = (0..tests.len()).collect();
        order.retain(|at| tests.get(*at).is_some_and(|test| test.asks.contains(&change.id)));
        order.sort_by_key(|at| {
            let count = |body| tally.get(&(body, *at)).copied().unwrap_or(0);
            let took = tests.get(*at).map(|test| test.took).unwrap_or_default();
            took / (NEIGHBOUR * count(body) + count(None) + 1)
        });
        let found = first_to_notice(built, (&tests, &order), change)?;
        match &found {
            Some((test, _)) => {
                if let Ok(mut tally) = noticed.lock() {
                    for body in [body, None] {
                        *tally.entry((body, *test)).or_default() += 1;
                    }
                }
            }
            None => {
                let count = missed.lock().map(|mut missed| {
                    *missed += 1;
                    *missed
                });
                let untried = if order.is_empty() { " (no test comes to it)" } else { "" };
                println!("missed {:>3}: {}{untried}", count.unwrap_or(0), change.name);
            }
        }
        eprintln!("-- {}/{} {}", at + 1, changes.len(), change.name);
        Ok(found.map(|(_, words)| words))
    })
}

/// Does a task for each of so many, as many at a time as there are processors.
fn each<T: Send>(
    count: usize,
    task: impl Fn(usize) -> Result<T, Stop> + Sync,
) -> Result<Vec<T>, Stop> {
    let next = Mutex::new(0..count);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(at) = next.lock().ok().and_then(|mut next| next.next()) {
            let one = task(at);
            let stop = one.is_err();
            if let Ok(mut done) = done.lock() {
                done.insert(at, one);
            }
            if stop {
                // Nobody begins another.
                next.lock().map(|mut next| *next = 0..0).unwrap_or_default();
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().unwrap_or_default().into_values().collect()
}

/// Every test, alone and with no change on.
fn alone(built: &Built) -> Result<Vec<Test>, Stop> {
    let mut names = Vec::new();
    for (target, executable) in built.executables.iter().enumerate() {
        let mut command = Command::new(executable);
        command.args(["--list", "--format", "terse"]).current_dir(&built.directory);
        let listed = command.output().map_err(|cause| unusable(executable, cause))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        names.extend(tests.map(|name| (target, name.to_owned())));
    }
    let tests = each(names.len(), |at| {
        let Some((target, name)) = names.get(at) else { return Ok(None) };
        std::fs::create_dir_all(&built.seen).map_err(|cause| unusable(&built.seen, cause))?;
        let seen = built.seen.join(format!("{at}.txt"));
        // Else it would say what an earlier build's test came to.
        drop(std::fs::remove_file(&seen));
        let go =
            Go { target: *target, names: vec![name.as_str()], limit: Duration::from_secs(600) };
        let started = Instant::now();
        match run(built, &go, ("DVM_WEAK_SEEN", seen.as_os_str()))? {
            Ended::Passed => {}
            Ended::Ignored => return Ok(None),
            Ended::Noticed(how) => {
                let cause = std::io::Error::other(format!("with no change on: {how}"));
                return Err(Stop::Unusable { what: name.clone(), cause });
            }
        }
        let took = started.elapsed();
        let asks = if seen.exists() { task::read(&seen)? } else { String::new() };
        let asks = asks.lines().map(str::to_owned).collect();
        Ok(Some(Test { target: *target, name: name.clone(), took, asks }))
    })?;
    Ok(tests.into_iter().flatten().collect())
}

/// The first of these tests that notices the change, and how.
fn first_to_notice(
    built: &Built,
    (tests, order): (&[Test], &[usize]),
    change: &Change,
) -> Result<Option<(usize, String)>, Stop> {
    let (first, rest) = order.split_at_checked(FIRST).unwrap_or((order, &[]));
    for some in first.chunks(1).chain([rest]) {
        for target in 0..built.executables.len() {
            let of = |at: &&usize| tests.get(**at).is_some_and(|test| test.target == target);
            let some: Vec<&Test> = some.iter().filter(of).filter_map(|at| tests.get(*at)).collect();
            let slowest = some.iter().map(|test| test.took).max().unwrap_or_default();
            let names: Vec<&str> = some.iter().map(|test| test.name.as_str()).collect();
            if names.is_empty() {
                continue;
            }
            let limit = PATIENCE.0 + slowest * PATIENCE.1;
            let go = Go { target, names, limit };
            if let Ended::Noticed(how) = run(built, &go, ("DVM_WEAK", change.id.as_ref()))? {
                let name = how.split(' ').next().unwrap_or_default();
                let is = |test: &Test| test.target == target && test.name == name;
                return Ok(Some((tests.iter().position(is).unwrap_or(usize::MAX), how)));
            }
        }
    }
    Ok(None)
}

/// Some tests of one executable.
struct Go<'a> {
    target: usize,
    names: Vec<&'a str>,
    /// How long it may say nothing.
    limit: Duration,
}

impl Go<'_> {
    /// The name of the test that runs after so many.
    fn at(&self, passed: usize) -> &str {
        self.names.get(passed).copied().unwrap_or("the end")
    }
}

/// How a go ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// All passed.
    Passed,
    /// The one test is not for ordinary runs.
    Ignored,
    /// The test's name, and how, if it did not just fail.
    Noticed(String),
}

/// Runs tests one after the other, until one fails.
fn run(built: &Built, go: &Go, (variable, value): (&str, &std::ffi::OsStr)) -> Result<Ended, Stop> {
    let Some(executable) = built.executables.get(go.target) else { return Ok(Ended::Passed) };
    let mut command = Command::new(executable);
    command.args(["--test-threads=1", "--exact"]).args(&go.names).current_dir(&built.directory);
    command.env_remove("DVM_WEAK").env_remove("DVM_WEAK_SEEN").env(variable, value);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|cause| unusable(executable, cause))?;
    watch(child, go).map_err(|cause| unusable(executable, cause))
}

/// Reads what a test runner says until that is enough.
fn watch(mut child: Child, go: &Go) -> Result<Ended, std::io::Error> {
    let (said, lines) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
    }
    let (mut passed, mut ignored) = (0, 0);
    let failed = loop {
        match lines.recv_timeout(go.limit) {
            Ok(line) if line.ends_with("... FAILED") => break Some(tested(&line).to_owned()),
            Ok(line) if line.ends_with("... ok") => passed += 1,
            Ok(line) if line.contains(" ... ignored") => ignored += 1,
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                break Some(format!("{} (hung)", go.at(passed)));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break None,
        }
    };
    if let Some(how) = failed {
        // It fails only if the process is gone already.
        drop(child.kill());
        child.wait()?;
        return Ok(Ended::Noticed(how));
    }
    let status = child.wait()?;
    let (wanted, whole) = (go.names.len(), passed + ignored == go.names.len());
    match (status.success(), whole, ignored) {
        (true, true, 0) => Ok(Ended::Passed),
        (true, true, 1) if wanted == 1 => Ok(Ended::Ignored),
        (false, false, 0) => Ok(Ended::Noticed(format!("{} (died)", go.at(passed)))),
        // Nothing is known of a run that was not whole.
        _ => Err(std::io::Error::other(format!("{passed} of {wanted} tests ran; {status}"))),
    }
}

/// The test that a line is about.
fn tested(line: &str) -> &str {
    let name = line.strip_prefix("test ").unwrap_or(line);
    let name = name.split(" ... ").next().unwrap_or_default();
    name.trim_end_matches(" - should panic")
}

fn unusable(executable: &Path, cause: std::io::Error) -> Stop {
    Stop::Unusable { what: executable.display().to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(script: &str, names: &[&str]) -> Option<Ended> {
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let limit = Duration::from_secs(2);
        watch(child, &Go { target: 0, names: names.to_vec(), limit }).ok()
    }

    #[test]
    fn only_a_run_of_every_named_test_passes() {
        let two = "echo 'test a ... ok'; echo 'test b ... ok'";
        assert_eq!(watched(two, &["a", "b"]), Some(Ended::Passed));
        assert_eq!(watched(two, &["a", "b", "c"]), None);
        assert_eq!(watched(&format!("{two}; exit 101"), &["a", "b"]), None);
        let ignored = "echo 'test a ... ignored, why'";
        assert_eq!(watched(ignored, &["a"]), Some(Ended::Ignored));
        assert_eq!(watched(&format!("{ignored}; {two}"), &["a", "b"]), None);
    }

    #[test]
    fn the_first_test_that_fails_dies_or_hangs_ends_the_run_and_is_named() {
        let noticed = |how: &str| Some(Ended::Noticed(how.to_owned()));
        let failed = "echo 'test a ... ok'; echo 'test b::c ... FAILED'; exec sleep 60";
        assert_eq!(watched(failed, &["a", "b::c"]), noticed("b::c"));
        let died = "echo 'test a ... ok'; printf 'test b ... '; kill -9 $$";
        assert_eq!(watched(died, &["a", "b"]), noticed("b (died)"));
        let hung = "echo 'test a ... ok'; printf 'test b ... '; exec sleep 60";
        assert_eq!(watched(hung, &["a", "b"]), noticed("b (hung)"));
    }

    #[test]
    fn each_gives_all_in_order_and_stops_at_the_first_that_breaks() {
        assert_eq!(each(5, Ok).unwrap(), [0, 1, 2, 3, 4]);
        let broken = each(1000, |at| match at {
            3 => Err(Stop::Missing { tool: "x", how: "y" }),
            other => Ok(other),
        });
        assert!(matches!(broken, Err(Stop::Missing { .. })));
    }
}
