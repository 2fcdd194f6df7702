//! Claims about the walls around the running kernels, read from outside.

use std::path::PathBuf;

use crate::site::{Site, bin_dir, ran};

#[test]
fn serving_kernels_are_filtered_have_one_socket_and_no_file_outside_their_vault() {
    let site = Site::start();
    for at in 0..3 {
        let pid = site.kernel_pid(at);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!((field("Seccomp:"), field("NoNewPrivs:")), ("2".into(), "1".into()));
        assert_eq!(field("Threads:"), "1");

        let vault = site.node_dir(at).join("vault").canonicalize().unwrap();
        let (mut sockets, mut inside) = (0, 0);
        // A kernel is not dumpable, so only root may look.
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("run this test as root");
        for fd in fds {
            let open: PathBuf = std::fs::read_link(fd.unwrap().path()).unwrap();
            let text = open.display().to_string();
            if text.starts_with("socket:[") {
                sockets += 1;
            } else if open.starts_with(&vault) {
                inside += 1;
            } else {
                assert_eq!(text, "/dev/null", "node {at}");
            }
        }
        assert_eq!(sockets, 1, "the inherited end of the pair");
        assert!(inside > 0, "the vault itself is open");
        let tcp = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert_eq!(tcp, "", "the environment is empty");
    }
}

#[test]
fn every_probe_of_the_shipped_sandbox_is_refused() {
    let mut attest = std::process::Command::new(bin_dir().join("dvm"));
    let shown = ran(attest.args(["kernel", "attest", "--probe", "--json"])).ok();
    let probes = shown["probes"].as_array().unwrap();
    assert!(probes.len() >= 5, "{probes:?}");
    for probe in probes {
        assert!(probe["outcome"].as_str().unwrap().starts_with("refused"), "{probe}");
    }
    let layers = &shown["layers"];
    assert_eq!((&layers["seccomp"], &layers["no_new_privs"]), (&true.into(), &true.into()));
}
