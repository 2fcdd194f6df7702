//! Kill campaign: processes get SIGKILL under load, over and over, and nothing that was promised breaks.
//!
//! Three nodes with their kernels and a witness sign for clients without a pause while a seeded choice of
//! process is killed, sometimes two at once, and started again. At the end every request must have ended,
//! every signature and bundle must verify, every intent must have one signature at most, and the
//! captures of all that every node ever sent must satisfy `dvm evidence wire`.
//!
//! `cargo xtask campaign` runs it for long: the numbers come from `DVM_CAMPAIGN_KILLS`, `_SEED`,
//! `_CLIENTS` and the report goes to `_JSON`; without them it is short enough for every test run.

mod audit;
mod fleet;
mod load;
mod points;
mod pool;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::site::{Site, bin_dir};
use audit::Audit;
use fleet::{Fleet, Victim};
use load::{Load, Request, Wanted};

/// The generator of Knuth's MMIX; its high bits are good enough to pick a victim and a moment.
pub struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Options {
    kills: u64,
    seed: u64,
    clients: usize,
}

impl Options {
    fn given() -> Self {
        let number = |name: &str, default: u64| {
            let text = std::env::var(format!("DVM_CAMPAIGN_{name}")).ok();
            text.map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
        };
        Self {
            kills: number("KILLS", 10),
            seed: number("SEED", 0x5eed_0003),
            clients: number("CLIENTS", 3) as usize,
        }
    }
}

/// The site of a campaign: made by a quickstart that has ended; its processes are ours to start.
fn stopped_site(bin: &std::path::Path) -> Site {
    let mut site = Site::start_from(bin, &["--once", "--record-wire"]);
    // It says its object first and ends its processes then.
    assert_eq!(site.ended(), Some(0));
    site
}

/// Kills and restarts until enough were killed; what it waits for in between is the fleet's.
fn kill_under_load(fleet: &mut Fleet<'_>, load: &Load<'_>, options: &Options, bar: &ProgressBar) {
    let mut random = Seeded(options.seed);
    let mut killed = 0;
    while killed < options.kills {
        fleet.run_for(Duration::from_millis(500 + random.below(1500)));
        let pair = random.below(6) == 0 && killed + 1 < options.kills;
        for _ in 0..1 + u64::from(pair) {
            let restart_after = Duration::from_millis(random.below(1500));
            let victim = Victim::drawn(&mut random);
            let busy = load.in_flight.load(Relaxed) > 0;
            killed += u64::from(fleet.kill(victim, restart_after, busy));
        }
        bar.set_position(killed);
        let (up, asked, signed) = (fleet.up(), load.asked(), load.signed.load(Relaxed));
        bar.set_message(format!("{up} of 4 up, {asked} asked, {signed} signed"));
    }
}

/// The whole of it, with its report; what is broken is listed there.
fn campaign(options: &Options) -> Value {
    let started = Instant::now();
    let site = stopped_site(&bin_dir());
    let mut fleet = Fleet::new(&site);
    fleet.all_up();
    site.key("auto", None, "auto");
    site.key("people", None, "treasury:1");
    let load = Load::new(&site, Wanted::Messages, options.seed);
    let bar = ProgressBar::new(options.kills);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} kills [{elapsed}] {msg}");
    bar.set_style(style.unwrap());
    let kill = |fleet: &mut Fleet<'_>| kill_under_load(fleet, &load, options, &bar);
    let mut report = judged(&mut fleet, &load, options, kill);
    bar.finish_and_clear();
    report["seconds"] = started.elapsed().as_secs().into();
    report
}

/// Clients at work while processes are killed, until that is enough and all are up again; then the whole audit.
fn judged<'a>(
    fleet: &mut Fleet<'a>,
    load: &Load<'a>,
    options: &Options,
    kill: impl FnOnce(&mut Fleet<'a>),
) -> Value {
    let requests: Vec<Request> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..options.clients).map(|client| scope.spawn(move || load.client(client))).collect();
        kill(fleet);
        fleet.all_up();
        load.stop.store(true, Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let mut audit = Audit::new(load.site);
    audit.problems(&mut fleet.problems);
    let requests = audit.settle(load, requests);
    audit.judge(&requests);
    audit.wire();
    let mut report = audit.report;
    report["seed"] = options.seed.into();
    report["clients"] = options.clients.into();
    report["kills"] = fleet.report();
    report
}

/// The report as the lines of a table.
fn table(report: &Value) -> String {
    let mut out = format!("seed {} · {} s\n", report["seed"], report["seconds"]);
    for part in ["kills", "requests", "checked", "wire"] {
        out.push_str(&format!("{part}\n"));
        for (name, value) in report[part].as_object().into_iter().flatten() {
            out.push_str(&format!("  {name:<44} {value}\n"));
        }
    }
    for problem in report["problems"].as_array().into_iter().flatten() {
        out.push_str(&format!("PROBLEM {}\n", problem.as_str().unwrap_or_default()));
    }
    out
}

#[test]
fn processes_killed_at_random_under_load_break_no_promise() {
    let options = Options::given();
    let Options { kills, seed, clients } = &options;
    let replay = format!("--kills {kills} --seed {seed} --clients {clients}");
    eprintln!("cargo xtask campaign {replay}");
    let report = campaign(&options);
    eprintln!("{}", table(&report));
    if let Some(file) = std::env::var_os("DVM_CAMPAIGN_JSON") {
        std::fs::write(file, report.to_string()).unwrap();
    }
    assert_eq!(report["problems"], json!([]), "again with: cargo xtask campaign {replay}");
    // A campaign in which nothing happened would show nothing.
    let count = |part: &str, name: &str| report[part][name].as_u64().unwrap_or_default();
    assert!(count("checked", "signatures verified") >= options.kills, "{report:#}");
    assert!(count("checked", "bundles verified") > 0, "{report:#}");
    assert!(count("wire", "shares") >= 2 * options.kills, "{report:#}");
    assert!(count("wire", "boots") > 3, "no kernel came back: {report:#}");
}
