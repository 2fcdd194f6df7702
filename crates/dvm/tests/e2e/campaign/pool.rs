//! The pool under kills: presignatures are made in batches, spent by many clients at once, and lost with every process
//! that dies. No kernel ever speaks over one twice, and every request ends.
//!
//! `cargo xtask campaign --pool` runs it for long, until `DVM_CAMPAIGN_SIGNATURES` signatures were made with a
//! presignature; without it, it is short enough for every test run.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::fleet::{Fleet, Victim};
use super::load::{Load, Wanted};
use super::{Options, Seeded, judged, stopped_site, table};
use crate::site::{Site, bin_dir};

/// Signatures by a presignature in an ordinary test run.
const SHORT: u64 = 60;
/// Longest time for one more of them, kills included: far above what it takes.
const STALLED: Duration = Duration::from_secs(120);
/// What nodes keep in stock here: enough that eight clients find some.
const POOL: &str = "\n[pool]\nlow = 32\nhigh = 128\n";

/// A pool in every node's configuration.
fn keep_in_stock(site: &Site) {
    for at in 0..3 {
        let path = site.node_dir(at).join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        assert!(!config.contains("[pool]"), "{config}");
        std::fs::write(path, config + POOL).unwrap();
    }
}

/// Kills one process every few seconds until enough was spent.
fn kill_until_spent(
    fleet: &mut Fleet<'_>,
    load: &Load<'_>,
    (wanted, random): (u64, &mut Seeded),
    bar: &ProgressBar,
) {
    let (mut last, mut moved) = (0, Instant::now());
    while load.spent.load(Relaxed) < wanted {
        let pause = Instant::now() + Duration::from_millis(3_000 + random.below(4_000));
        while Instant::now() < pause && load.spent.load(Relaxed) < wanted {
            fleet.run_for(Duration::from_millis(100));
            let (spent, signed) = (load.spent.load(Relaxed), load.signed.load(Relaxed));
            bar.set_position(spent);
            bar.set_message(format!("{} of 4 up, {signed} signed in all", fleet.up()));
        }
        let busy = load.in_flight.load(Relaxed) > 0;
        fleet.kill(Victim::drawn(random), Duration::from_millis(random.below(1_500)), busy);
        let spent = load.spent.load(Relaxed);
        if spent > last {
            (last, moved) = (spent, Instant::now());
        }
        assert!(moved.elapsed() < STALLED, "nothing was spent for {STALLED:?}: {spent} so far");
    }
}

fn campaign(options: &Options, wanted: u64) -> Value {
    let started = Instant::now();
    let site = stopped_site(&bin_dir());
    keep_in_stock(&site);
    let mut fleet = Fleet::new(&site);
    fleet.all_up();
    site.evm_key("evm");
    let load = Load::new(&site, Wanted::Payments, options.seed);
    let bar = ProgressBar::new(wanted);
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} presignatures [{elapsed}] {msg}");
    bar.set_style(style.unwrap());
    let mut random = Seeded(options.seed);
    let kill = |fleet: &mut Fleet<'_>| kill_until_spent(fleet, &load, (wanted, &mut random), &bar);
    let mut report = judged(&mut fleet, &load, options, kill);
    bar.finish_and_clear();
    report["checked"]["signatures by a presignature"] = load.spent.load(Relaxed).into();
    report["seconds"] = started.elapsed().as_secs().into();
    report
}

#[test]
fn presignatures_under_kills_are_spent_once_each_and_every_request_ends() {
    let options = Options::given();
    let wanted = std::env::var("DVM_CAMPAIGN_SIGNATURES").ok();
    let wanted = wanted.map_or(SHORT, |text| text.parse().unwrap());
    let Options { seed, clients, .. } = &options;
    let replay = format!("--pool --signatures {wanted} --seed {seed} --clients {clients}");
    eprintln!("cargo xtask campaign {replay}");
    let report = campaign(&options, wanted);
    eprintln!("{}", table(&report));
    if let Some(file) = std::env::var_os("DVM_CAMPAIGN_JSON") {
        std::fs::write(file, report.to_string()).unwrap();
    }
    assert_eq!(
        report["problems"],
        serde_json::json!([]),
        "again with: cargo xtask campaign {replay}"
    );
    // Each signature by a presignature spent one of its own; those that kills cut short spent more.
    let materials = report["wire"]["materials"].as_u64().unwrap_or_default();
    assert!(materials >= wanted, "{report:#}");
    assert!(report["kills"]["kills"].as_u64().unwrap_or_default() > 0, "{report:#}");
}
