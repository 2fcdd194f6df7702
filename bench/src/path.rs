//! The whole path: a governed signature from a client's call to the published result, on real
//! processes with every durable write on.

use std::path::Path;

use crate::cluster::Cluster;
use crate::figures::Aims;
use crate::load::{Asked, Commits, Scenario, commits, run};
use crate::table::{Against, Row};
use crate::timing::Effort;
use crate::{Outcome, keys};

const SECTION: &str = "path";
/// Signatures before the measured ones: connections up, caches warm.
const WARM_UP: usize = 20;
/// Signatures whose commits are counted.
const COUNTED: usize = 20;

/// A signature that no person has to approve: aims with one client, and of the chain of durable writes.
const MESSAGE: Aims =
    Aims { p50_ms: Some(50.0), per_second: Some(30.0), serial_commits: Some(8.0) };
/// An ECDSA signature that makes all it needs: three levels instead of two.
const FULL: Aims = Aims { p50_ms: Some(60.0), per_second: Some(15.0), serial_commits: None };

/// What is measured: its name, what is asked for, and what is aimed at.
const KINDS: [(&str, Asked, Aims); 3] = [
    ("auto", Asked::Message, MESSAGE),
    ("approved", Asked::Approved, Aims { p50_ms: None, per_second: None, serial_commits: None }),
    ("evm", Asked::Transaction, FULL),
];

/// Measures, with these numbers of clients, in a new directory.
///
/// # Errors
/// A cluster that does not form, or a signature that was not published.
pub fn rows(effort: Effort, clients: &[usize], dir: &Path) -> Outcome<Vec<Row>> {
    let cluster = Cluster::start(dir)?;
    let mut rows = Vec::new();
    let scenario = |(kind, asked, aims): (&str, Asked, Aims), clients: usize| Scenario {
        name: format!("{kind}-{clients}"),
        key: kind.to_owned(),
        clients,
        requests: effort.requests,
        warm_up: WARM_UP.min(effort.requests),
        asked,
        aims,
    };
    for kind in KINDS {
        keys::make(&cluster, kind.0, kind.1)?;
        for clients in clients {
            rows.extend(run(&cluster, &scenario(kind, *clients))?.rows());
        }
    }
    let quiet = scenario(KINDS[0], 1);
    rows.extend(counted(commits(&cluster, &quiet, COUNTED.min(effort.requests))?));
    Ok(rows)
}

fn counted(commits: Commits) -> [Row; 4] {
    let row = |what: &str, figure: f64, unit: &'static str| {
        let measure = format!("one signature alone: {what}");
        Row::new(SECTION, measure, (figure, unit), Against::Nothing)
    };
    [
        row("syncs for 3 vaults' commits", commits.vaults.0, "/sig"),
        row("pages that they write", commits.vaults.1, "/sig"),
        row("syncs for 3 journals' commits", commits.journals.0, "/sig"),
        row("pages that they write", commits.journals.1, "/sig"),
    ]
}
