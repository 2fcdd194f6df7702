//! What the command prints: text for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dvm_sim::Outcome;
use dvm_sim::campaign::Summary;
use dvm_sim::coverage::{Coverage, Kind};
use dvm_sim::matrix::Matrix;
use serde_json::{Value, json};

/// The command that shows a seed again.
fn replay(seed: u64) -> String {
    format!("cargo xtask sim --seed {seed}")
}

/// Writing to a string does not fail.
macro_rules! say {
    ($out:expr, $($what:tt)*) => {{ let _ = writeln!($out, $($what)*); }};
}

fn coverage(out: &mut String, coverage: &Coverage) {
    say!(out, "{:<36} {:>9} {:>9} {:>11}", "fault", "planned", "in seeds", "took effect");
    for kind in Kind::ALL {
        let (planned, seeds, hits) =
            (coverage.planned(*kind), coverage.seeds(*kind), coverage.hits(*kind));
        say!(out, "{:<36} {planned:>9} {seeds:>9} {hits:>11}", kind.name());
    }
}

fn coverage_json(coverage: &Coverage) -> Value {
    let row = |kind: &Kind| {
        let counts = json!({
            "planned": coverage.planned(*kind),
            "seeds": coverage.seeds(*kind),
            "took_effect": coverage.hits(*kind),
        });
        (kind.name().to_owned(), counts)
    };
    Value::Object(Kind::ALL.iter().map(row).collect())
}

/// One seed for people.
pub fn story(outcome: &Outcome) -> String {
    let mut out = String::new();
    for line in &outcome.story {
        say!(out, "{line}");
    }
    let hash = hex::encode(outcome.hash);
    say!(out, "seed {}: {} events, hash {hash}", outcome.seed, outcome.events);
    say!(out, "operations ended as {:?}", outcome.ends);
    match &outcome.complaint {
        Some(c) => say!(out, "COMPLAINT {}: {}", c.checker, c.what),
        None => say!(out, "no complaint; the second run gave the same hash"),
    }
    out
}

/// One seed for programs.
pub fn outcome_json(outcome: &Outcome) -> Value {
    json!({
        "seed": outcome.seed,
        "events": outcome.events,
        "hash": hex::encode(outcome.hash),
        "ends": outcome.ends,
        "complaint": outcome.complaint.as_ref().map(|c| json!({"checker": c.checker, "what": c.what})),
        "story": outcome.story,
        "coverage": coverage_json(&outcome.coverage),
    })
}

/// A campaign for people.
pub fn summary(summary: &Summary) -> String {
    let mut out = String::new();
    coverage(&mut out, &summary.coverage);
    let [events, openings, stories, bundles, bans] = summary.judged;
    let rate = summary.seeds as f64 / summary.seconds.max(0.001);
    say!(out, "operations ended as {:?}", summary.ends);
    say!(
        out,
        "judged {events} events, {openings} opening shares, {stories} pairs of stories, {bundles} bundles, {bans} bans"
    );
    say!(
        out,
        "{} seeds ({} of them twice) in {:.1} s, {rate:.0} a second",
        summary.seeds,
        summary.repeated,
        summary.seconds
    );
    for (seed, complaint) in &summary.complaints {
        say!(out, "COMPLAINT seed {seed}: {}: {}", complaint.checker, complaint.what);
        say!(out, "  {}", replay(*seed));
    }
    if summary.complaints.is_empty() {
        say!(out, "no complaint");
    }
    out
}

/// A campaign for programs.
pub fn summary_json(summary: &Summary) -> Value {
    let [events, openings, stories, bundles, bans] = summary.judged;
    let complaint = |(seed, c): (&u64, &dvm_sim::judge::Complaint)| json!({"seed": seed, "checker": c.checker, "what": c.what, "replay": replay(*seed)});
    json!({
        "seeds": summary.seeds,
        "repeated": summary.repeated,
        "seconds": summary.seconds,
        "events": events,
        "openings": openings,
        "stories": stories,
        "bundles": bundles,
        "bans": bans,
        "ends": summary.ends,
        "coverage": coverage_json(&summary.coverage),
        "complaints": summary.complaints.iter().map(complaint).collect::<Vec<_>>(),
    })
}

/// The matrix for people.
pub fn matrix(all: &BTreeMap<&str, Matrix>) -> String {
    let mut out = String::new();
    for (name, matrix) in all {
        let Matrix { points, bans, ends, .. } = matrix;
        say!(out, "{name}: {points} crash points, {bans} bans, ended as {ends:?}");
        for point in &matrix.bad {
            for line in &point.story {
                say!(out, "    {line}");
            }
            let what = point.complaint.as_ref().map(|c| format!("{}: {}", c.checker, c.what));
            let disk = if point.vault { "vault" } else { "journal" };
            say!(
                out,
                "COMPLAINT n{} {disk} write {} {:?}: {} (ended {})",
                point.node + 1,
                point.write,
                point.fate,
                what.unwrap_or_default(),
                point.end
            );
        }
    }
    let points: u64 = all.values().map(|m| m.points).sum();
    let bad: usize = all.values().map(|m| m.bad.len()).sum();
    say!(out, "{points} crash points, {bad} complaints");
    out
}

/// The matrix for programs.
pub fn matrix_json(all: &BTreeMap<&str, Matrix>) -> Value {
    let row = |(name, matrix): (&&str, &Matrix)| {
        let bad = matrix.bad.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>();
        let row = json!({"points": matrix.points, "bans": matrix.bans, "ends": matrix.ends, "complaints": bad});
        ((*name).to_owned(), row)
    };
    Value::Object(all.iter().map(row).collect())
}
