//! Claims about a node's directory as an operator can lose, restore and copy it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};

use dvm_core::codec;
use dvm_core::sighting::FencingRecord;
use serde_json::Value;

use crate::site::{Site, until};

const FENCED: &str = "SPLIT_BRAIN_FENCED";

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Waits until a node says that it does no work with this member's kernel.
fn refuses(site: &Site, at: usize, member: &str) -> Value {
    until("the node is refused", || {
        let ran = site.cli(at, &["cluster", "status"]);
        let status = (ran.exit == 0).then(|| ran.json())?;
        let members = status["members"].as_array().unwrap();
        let refused = members.iter().any(|m| m["node"] == member && m["refused"] == FENCED);
        refused.then_some(status)
    })
}

/// The execution that signing ends with.
fn sign(site: &Site, at: usize, state: &str) -> Value {
    let file = site.dir.join("f.bin");
    fs::write(&file, b"content").unwrap();
    let args = ["sign", "message", "--key", "auto", "--file", file.to_str().unwrap()];
    site.asked(at, &args, state)
}

/// The two others sign without it, and it signs nothing.
fn is_out_and_the_others_sign(site: &Site) {
    let own = sign(site, 2, "Denied");
    assert_eq!(own["codes"][0], FENCED, "{own:#}");
    for at in [0, 1] {
        let view = sign(site, at, "Published");
        assert_eq!(view["signers"], serde_json::json!(["n1", "n2"]), "{view:#}");
    }
}

#[test]
fn yesterdays_directory_is_refused_by_its_own_kernel_and_by_its_peers_and_the_others_sign() {
    let mut site = Site::start();
    site.key("auto", None, "auto");
    let (dir, old) = (site.node_dir(2), site.dir.join("yesterday"));
    site.kill_node(2);
    copy_tree(&dir, &old);
    site.restart_node(2);
    site.sees_up(2, &[0, 1]);
    let today = sign(&site, 2, "Published");
    assert!(today["signers"].as_array().unwrap().contains(&"n3".into()), "{today:#}");

    site.kill_node(2);
    fs::remove_dir_all(&dir).unwrap();
    copy_tree(&old, &dir);
    site.restart_node(2);
    for at in [2, 0, 1] {
        refuses(&site, at, "n3");
    }
    is_out_and_the_others_sign(&site);
    let status = String::from_utf8(site.cli(2, &["cluster", "status"]).out).unwrap();
    assert!(status.contains(FENCED));
    let log = fs::read_to_string(dir.join("node.log")).unwrap();
    assert!(log.contains("this node is fenced"), "{log}");

    // Started once more, it remembers.
    site.kill_node(2);
    site.restart_node(2);
    refuses(&site, 2, "n3");
    is_out_and_the_others_sign(&site);
}

/// A second process over a copy of a node's directory, on ports of its own.
struct Copy(Child);

impl Copy {
    fn start(site: &Site, dir: &Path) -> Self {
        let path = dir.join("node.toml");
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some((name @ ("peer_listen" | "api_listen"), _)) => format!("{name} = \"127.0.0.1:0\""),
            _ => line.to_owned(),
        });
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let log = File::create(dir.join("node.log")).unwrap();
        let mut run = site.dvm();
        run.args(["node", "run", "--until-stdin-ends", "--config"]).arg(path);
        Self(run.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn directory_copied_and_started_twice_is_fenced_at_every_node_with_evidence_and_the_others_sign() {
    let mut site = Site::start();
    site.key("auto", None, "auto");
    let (dir, twin) = (site.node_dir(2), site.dir.join("n3-again"));
    site.kill_node(2);
    copy_tree(&dir, &twin);
    site.restart_node(2);
    site.sees_up(0, &[2]);
    site.sees_up(2, &[0, 1]);
    sign(&site, 2, "Published");
    let copy = Copy::start(&site, &twin);
    for at in [0, 1, 2] {
        let status = refuses(&site, at, "n3");
        until("the evidence is there", || {
            let status = site.cli(at, &["cluster", "status"]).json();
            let record = status["fences"][0]["record_hex"].as_str()?;
            let record: FencingRecord = codec::decode(&hex::decode(record).unwrap()).unwrap();
            assert!(record.holds() && record.node.as_str() == "n3", "{status:#}");
            assert_eq!(record.first.boot().generation, record.second.boot().generation);
            Some(())
        });
        assert_eq!(status["cluster_state"], "Normal", "{status:#}");
    }
    is_out_and_the_others_sign(&site);
    // The original is out for good, also without the copy.
    drop(copy);
    site.kill_node(2);
    site.restart_node(2);
    refuses(&site, 2, "n3");
    is_out_and_the_others_sign(&site);
}
