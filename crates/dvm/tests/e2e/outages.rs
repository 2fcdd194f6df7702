//! Claims about nodes that die: the others sign, and the dead one comes back. Kills at random, under
//! load, are in `campaign.rs`.

use std::path::Path;

use serde_json::Value;

use crate::site::{Site, until};

fn signed(site: &Site, at: usize, file: &Path, signature: &Path) -> Value {
    let (file, signature) = (file.to_str().unwrap(), signature.to_str().unwrap());
    let what = ["sign", "message", "--key", "auto", "--file", file];
    site.asked(at, &[&what[..], &["--signature-file", signature]].concat(), "Published")
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
            let signed = signed(&site, at, &file, &signature);
            let signers = signed["signers"].as_array().unwrap();
            assert!(!signers.contains(&site.node(down)["node_id"]), "{signers:?}");
            assert!(site.openssl_verifies("auto", &file, &signature));
        }
        site.restart_node(down);
        site.sees_up(down, &pair);
        signed(&site, down, &file, &signature);
        assert!(site.openssl_verifies("auto", &file, &signature));
    }

    site.kill_node(1);
    site.kill_node(2);
    let ask = ["sign", "message", "--key", "auto", "--text", "alone", "--wait", "60"];
    let alone = site.cli(0, &[&ask[..], &["--idempotency-key", "alone"]].concat());
    let intent = alone.json()["intent"].as_str().unwrap().to_owned();
    let missing = Some(serde_json::json!(["n2", "n3"]));
    until("the node names both that are missing", || {
        let shown = site.cli(0, &["execution", "show", &intent, "--wait", "1"]);
        let view = shown.view()?;
        let named = view.get("missing") == missing.as_ref();
        (named && shown.exit == 5 && view["codes"][0] == "REMOTE_TIMEOUT").then_some(())
    });
    // The same request is signed once a second node is there again.
    site.restart_node(2);
    site.shows(0, &intent, "Published");
}
