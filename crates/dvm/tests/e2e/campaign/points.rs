//! Crash points: a process dies at exactly one place, on one node, and nothing that was promised breaks.
//!
//! Source: `mutants/crash.toml`, whose rows are the places. They exist in the weakened tree only, so this
//! runs against its binaries: `cargo xtask campaign --points`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::audit::Audit;
use super::fleet::{Fleet, Victim};
use super::load::{Load, Request, Wanted};
use super::{stopped_site, table};

/// How long a point may take to be reached.
const REACHED_WITHIN: Duration = Duration::from_secs(45);
const CLIENTS: usize = 3;
const SEED: u64 = 0x5eed_0004;

/// The names of all points.
fn points() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mutants/crash.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let rows = table["mutant"].as_array().unwrap().iter();
    rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// At which passes through a place a process dies, one after the other.
fn hits(point: &str) -> &'static [u64] {
    match point.split('-').next() {
        // Once in a process, or once for each new key.
        Some("boot" | "keygen") => &[1],
        Some("adopt") => &[1, 2],
        _ => &[1, 4, 9],
    }
}

/// Where the weakened binaries are.
fn weakened() -> PathBuf {
    let how = "`cargo xtask campaign --points` builds them and sets DVM_WEAK_BIN_DIR";
    PathBuf::from(std::env::var_os("DVM_WEAK_BIN_DIR").expect(how))
}

/// Clients sign, and governors change what there is, until the process has died at its place; then it
/// comes back. Says how it ended.
fn one(fleet: &mut Fleet<'_>, load: &Load<'_>, (point, hit, at): (&str, u64, usize)) -> Died {
    let weak = vec![("DVM_WEAK".to_owned(), format!("{point}@{hit}"))];
    fleet.runs(at, Some(weak));
    fleet.kill(Victim::Node(at), Duration::ZERO, true);
    load.stop.store(false, Relaxed);
    // Places in key generation and in the log's adoption are passed when a key is made and activated.
    let makes_a_key = point.starts_with("keygen") || point.starts_with("adopt");
    let key = format!("{point}-{hit}");
    let (how, requests) = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || load.client(client))).collect();
        let made = makes_a_key.then(|| scope.spawn(|| load.site.key(&key, None, "auto")));
        let started = Instant::now();
        while fleet.crashed.is_empty() && started.elapsed() < REACHED_WITHIN {
            fleet.run_for(Duration::from_millis(100));
        }
        let how = fleet.crashed.pop();
        if how.is_none() {
            fleet.runs(at, None);
            fleet.kill(Victim::Node(at), Duration::ZERO, true);
        }
        while made.as_ref().is_some_and(|made| !made.is_finished()) {
            fleet.run_for(Duration::from_millis(100));
        }
        fleet.all_up();
        load.stop.store(true, Relaxed);
        let requests = clients.into_iter().flat_map(|client| client.join().unwrap());
        (how, requests.collect())
    });
    Died { how, requests }
}

struct Died {
    how: Option<String>,
    requests: Vec<Request>,
}

#[test]
#[ignore = "needs the weakened binaries: cargo xtask campaign --points"]
fn a_process_that_dies_at_a_named_point_breaks_no_promise() {
    let site = stopped_site(&weakened());
    let mut fleet = Fleet::new(&site);
    fleet.all_up();
    site.key("auto", None, "auto");
    site.key("people", None, "treasury:1");
    let load = Load::new(&site, Wanted::Messages, SEED);
    let mut audit = Audit::new(&site);
    let (mut rows, mut all) = (serde_json::Map::new(), Vec::new());
    let mut reached = 0;
    for (number, point) in points().iter().enumerate() {
        let mut outcomes = Vec::new();
        for (turn, hit) in hits(point).iter().enumerate() {
            let died = one(&mut fleet, &load, (point, *hit, (number + turn) % 3));
            let requests = audit.settle(&load, died.requests);
            let signed = requests.iter().filter(|r| r.state() == "Published").count();
            let how = died.how.as_deref().unwrap_or("not reached");
            outcomes.push(format!("pass {hit}: {how}, {signed} of {} signed", requests.len()));
            reached += u64::from(died.how.is_some());
            if died.how.is_none() {
                audit.problem(format!("{point} was not passed {hit} times"));
            }
            all.extend(requests);
        }
        eprintln!("{point}: {}", outcomes.join("; "));
        rows.insert(point.clone(), outcomes.join("; ").into());
    }
    audit.problems(&mut fleet.problems);
    audit.judge(&all);
    audit.wire();
    let mut report: Value = audit.report;
    report["kills"] = Value::Object(rows);
    report["requests"] = json!({ "asked": all.len(), "deaths": reached });
    eprintln!("{}", table(&report));
    if let Some(file) = std::env::var_os("DVM_CAMPAIGN_JSON") {
        std::fs::write(file, report.to_string()).unwrap();
    }
    assert_eq!(report["problems"], json!([]));
}
