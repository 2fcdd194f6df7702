//! The whole path: a governed signature from a client's call to the published result, on real
//! processes with every durable write on.

use std::path::Path;

use crate::cluster::Cluster;
use crate::load::{Commits, Scenario, commits, run};
use crate::table::{Against, Row};
use crate::timing::Effort;
use crate::{Outcome, keys};

const SECTION: &str = "path";
/// Signatures before the measured ones: connections up, caches warm.
const WARM_UP: usize = 20;
/// Signatures whose commits are counted.
const COUNTED: usize = 20;

/// Measures, with these numbers of clients, in a new directory.
///
/// # Errors
/// A cluster that does not form, or a signature that was not published.
pub fn rows(effort: Effort, clients: &[usize], dir: &Path) -> Outcome<Vec<Row>> {
    let cluster = Cluster::start(dir)?;
    let mut rows = Vec::new();
    for (kind, approvals) in [("auto", false), ("approved", true)] {
        keys::make(&cluster, kind, approvals)?;
        for clients in clients {
            let scenario = scenario(kind, approvals, *clients, effort);
            rows.extend(run(&cluster, &scenario)?.rows());
        }
    }
    let quiet = scenario("auto", false, 1, effort);
    rows.extend(counted(commits(&cluster, &quiet, COUNTED.min(effort.requests))?));
    Ok(rows)
}

fn scenario(kind: &str, approvals: bool, clients: usize, effort: Effort) -> Scenario {
    Scenario {
        name: format!("{kind}-{clients}"),
        key: kind.to_owned(),
        clients,
        requests: effort.requests,
        warm_up: WARM_UP.min(effort.requests),
        approvals,
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
