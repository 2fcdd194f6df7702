//! Claims about nodes that die: the others sign, the dead one comes back, and nothing is left without
//! an end.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::Value;

use crate::site::{Ran, Site, alive};

/// Kills under load, the seed of their order, and the threads that make the load.
const KILLS: usize = 10;
const SEED: u64 = 0x5eed_0002;
const CLIENTS: usize = 3;

fn sign(site: &Site, at: usize, file: &Path, signature: &Path) -> Ran {
    let (file, signature) = (file.to_str().unwrap(), signature.to_str().unwrap());
    let what = ["sign", "message", "--key", "auto", "--file", file, "--wait", "20"];
    site.cli(at, &[&what[..], &["--signature-file", signature]].concat())
}

#[test]
fn each_pair_signs_while_the_third_is_killed_and_a_node_alone_names_both_that_are_missing() {
    let mut site = Site::start();
    site.key("auto", None, "auto");
    let (file, signature) = (site.dir.join("f.bin"), site.dir.join("f.sig"));
    for down in 0..3 {
        let pair = [(down + 1) % 3, (down + 2) % 3];
        site.kill_node(down);
        std::fs::write(&file, [0, 255, down as u8]).unwrap();
        for at in pair {
            let signed = sign(&site, at, &file, &signature).ok();
            assert_eq!(signed["state"], "Published", "{down} is down: {signed:#}");
            let signers = signed["signers"].as_array().unwrap();
            assert!(!signers.contains(&site.node(down)["node_id"]), "{signers:?}");
            assert!(site.openssl_verifies("auto", &file, &signature));
        }
        site.restart_node(down);
        site.sees_up(down, &pair);
        let signed = sign(&site, down, &file, &signature).ok();
        assert_eq!(signed["state"], "Published", "{down} is back: {signed:#}");
        assert!(site.openssl_verifies("auto", &file, &signature));
    }

    site.kill_node(1);
    site.kill_node(2);
    let alone = sign(&site, 0, &file, &signature);
    let view = alone.json();
    assert_eq!((alone.exit, &view["codes"][0]), (5, &"REMOTE_TIMEOUT".into()), "{view:#}");
    assert_eq!(view["missing"], serde_json::json!(["n2", "n3"]), "{view:#}");
    // The same request is signed once a second node is there again.
    site.restart_node(2);
    let intent = view["intent"].as_str().unwrap();
    let shown = site.cli(0, &["execution", "show", intent, "--wait", "30"]).json();
    let settled = crate::site::until("the request is signed after all", || {
        let now = site.cli(0, &["execution", "show", intent, "--wait", "10"]).json();
        (now["state"] == "Published").then_some(now)
    });
    assert_eq!(settled["intent"], shown["intent"]);
}

/// One request of the load, and how it ended.
struct Request {
    at: usize,
    name: String,
    ran: Ran,
}

fn request(site: &Site, at: usize, name: &str, wait: &str) -> Ran {
    let what = ["sign", "message", "--key", "auto", "--text", name, "--wait", wait];
    site.cli(at, &[&what[..], &["--idempotency-key", name]].concat())
}

/// Signed; or not, with a code that says why. A node that is gone is the client's own finding.
fn ended_well(ran: &Ran) -> bool {
    const UNREACHABLE: i32 = 11;
    if ran.exit == 0 {
        return ran.json()["signature_hex"].is_string();
    }
    let view: Value = serde_json::from_slice(&ran.out).unwrap_or_default();
    let codes = view["codes"].as_array().is_some_and(|codes| !codes.is_empty());
    ran.exit == UNREACHABLE || codes || ran.code().is_some()
}

fn load(site: &Site, who: (usize, usize), stop: &AtomicBool) -> Vec<Request> {
    let ((round, client), mut made) = (who, Vec::new());
    while !stop.load(Relaxed) {
        let at = (client + made.len()) % 3;
        let name = format!("load-{round}-{client}-{}", made.len());
        let ran = request(site, at, &name, "15");
        made.push(Request { at, name, ran });
        std::thread::sleep(Duration::from_millis(30));
    }
    made
}

#[test]
fn nodes_killed_at_random_under_load_leave_no_request_without_an_end() {
    let mut site = Site::start();
    site.key("auto", None, "auto");
    let (mut random, mut all) = (SEED, Vec::new());
    for round in 0..KILLS {
        // The generator of Knuth's MMIX; its high bits are good enough to pick a node and a moment.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (victim, pause) = ((random >> 33) as usize % 3, (random >> 40) % 400);
        let stop = AtomicBool::new(false);
        let (pid, kernel) = (site.pid(victim), site.kernel_pid(victim));
        let made = std::thread::scope(|scope| {
            let (site, stop) = (&site, &stop);
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| scope.spawn(move || load(site, (round, client), stop)))
                .collect();
            std::thread::sleep(Duration::from_millis(300 + pause));
            crate::site::kill_9(pid);
            crate::site::until("the kernel ends", || (!alive(kernel)).then_some(()));
            std::thread::sleep(Duration::from_millis(500));
            stop.store(true, Relaxed);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        site.restart_node(victim);
        site.sees_up(victim, &[(victim + 1) % 3, (victim + 2) % 3]);
        all.push((victim, made));
    }
    let mut signed = 0;
    for (victim, made) in &all {
        for Request { at, name, ran } in made {
            let out = String::from_utf8_lossy(&ran.out);
            let err = &ran.err;
            assert!(ended_well(ran), "{name} at {at}: exit {} {out}{err}", ran.exit);
            // Only the killed node may have been out of reach.
            assert!(ran.exit != 11 || at == victim, "{name} at {at}: {err}");
            signed += usize::from(ran.exit == 0);
            // Asked for again by its name, each is signed in the end, once.
            let again = request(&site, *at, name, "30").ok();
            assert_eq!(again["state"], "Published", "{again:#}");
        }
    }
    assert!(signed > KILLS, "{signed} requests were signed");
    for at in 0..3 {
        let done = request(&site, at, &format!("afterwards-{at}"), "20").ok();
        assert_eq!(done["state"], "Published", "{done:#}");
    }
}
