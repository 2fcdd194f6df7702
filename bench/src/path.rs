//! The whole path: a governed signature from a client's call to the published result, on real
//! processes with every durable write on.

use std::path::Path;

use crate::cluster::{Cluster, Stock};
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
const FULL: Aims = Aims { p50_ms: Some(60.0), per_second: None, serial_commits: None };
/// One that finds a presignature: one level.
const STASHED: Aims =
    Aims { p50_ms: Some(30.0), per_second: Some(15.0), serial_commits: Some(8.0) };
const NO_AIMS: Aims = Aims { p50_ms: None, per_second: None, serial_commits: None };

/// A name, what is asked for, and what is aimed at.
type Kind = (&'static str, Asked, Aims);

/// What is measured without material in stock, and with.
const FRESH: [Kind; 3] = [
    ("auto", Asked::Message, MESSAGE),
    ("approved", Asked::Approved, NO_AIMS),
    ("evm", Asked::Transaction, FULL),
];
const IN_STOCK: [Kind; 2] =
    [("auto-pool", Asked::Message, MESSAGE), ("evm-pool", Asked::Transaction, STASHED)];

/// Measures, with these numbers of clients, in new directories below this one.
///
/// # Errors
/// A cluster that does not form, or a signature that was not published.
pub fn rows(effort: Effort, clients: &[usize], dir: &Path) -> Outcome<Vec<Row>> {
    let cluster = Cluster::start(&dir.join("fresh"), Stock::None)?;
    let mut rows = all(&cluster, &FRESH, effort, clients)?;
    let quiet = scenario(FRESH[0], 1, effort);
    rows.extend(counted(commits(&cluster, &quiet, COUNTED.min(effort.requests))?));
    drop(cluster);
    let cluster = Cluster::start(&dir.join("stock"), Stock::Ample)?;
    rows.extend(all(&cluster, &IN_STOCK, effort, clients)?);
    Ok(rows)
}

fn all(cluster: &Cluster, kinds: &[Kind], effort: Effort, clients: &[usize]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in kinds {
        keys::make(cluster, kind.0, kind.1)?;
        for clients in clients {
            rows.extend(run(cluster, &scenario(*kind, *clients, effort))?.rows());
        }
    }
    Ok(rows)
}

fn scenario((kind, asked, aims): Kind, clients: usize, effort: Effort) -> Scenario {
    Scenario {
        name: format!("{kind}-{clients}"),
        key: kind.to_owned(),
        clients,
        requests: effort.requests,
        warm_up: WARM_UP.min(effort.requests),
        asked,
        aims,
    }
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
