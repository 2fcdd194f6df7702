//! A cluster of real processes for one test: `dvm quickstart` as a child, and what one does with it.
//!
//! Always true: dropping a [`Site`] ends every process that it started, also when the test panics;
//! only one site runs at a time on a machine, whatever runs the tests.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest wait for the quickstart's object: a whole cluster, a key and a signature.
const STORY_TIME: Duration = Duration::from_secs(240);
/// Longest wait for one thing to happen in a running cluster: far above what it takes on two cores
/// that do other things as well, because a claim here is never about speed.
pub const SOON: Duration = Duration::from_secs(90);

/// Where the binaries are.
pub fn bin_dir() -> PathBuf {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release");
    let dir = std::env::var_os("DVM_BIN_DIR").map_or_else(ours, PathBuf::from);
    for name in ["dvm", "dvm-kernel"] {
        let path = dir.join(name);
        let missing = "is missing: run `cargo build --release --bins`, or set DVM_BIN_DIR";
        assert!(path.is_file(), "{} {missing}", path.display());
    }
    dir.canonicalize().unwrap()
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a command left behind.
pub struct Ran {
    pub exit: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    /// Its one JSON document, if there is one: a node that is away gives none.
    pub fn view(&self) -> Option<Value> {
        serde_json::from_slice(&self.out).ok()
    }

    /// Its one JSON document.
    pub fn json(&self) -> Value {
        let bad = |e| panic!("not JSON ({e}): {}{}", String::from_utf8_lossy(&self.out), self.err);
        serde_json::from_slice(&self.out).unwrap_or_else(bad)
    }

    /// The document, if the command succeeded.
    pub fn ok(&self) -> Value {
        let out = String::from_utf8_lossy(&self.out);
        assert_eq!(self.exit, 0, "{out}{}", self.err);
        self.json()
    }

    /// The reason code on standard error.
    pub fn code(&self) -> Option<String> {
        let error: Value = serde_json::from_str(self.err.lines().last()?).ok()?;
        error["code"].as_str().map(str::to_owned)
    }
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { exit: output.status.code().unwrap_or(-1), out: output.stdout, err }
}

/// Whether a process is there and no zombie.
pub fn alive(pid: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains(['Z', 'X']))
}

pub fn kill_9(pid: u64) {
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    until("the killed process ends", || (!alive(pid)).then_some(()));
}

/// Holds the machine for one cluster.
pub struct Turn(#[expect(dead_code, reason = "its lock is held until it is dropped")] File);

impl Turn {
    pub fn take() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one-cluster-at-a-time.lock");
        let file = File::create(path).unwrap();
        file.lock().unwrap();
        Self(file)
    }
}

/// A directory and the child that runs the cluster in it.
pub struct Site {
    /// The quickstart's object; pids follow restarts.
    pub facts: Value,
    pub dir: PathBuf,
    pub bin: PathBuf,
    quickstart: Child,
    restarted: Vec<(usize, Child)>,
    _scratch: tempfile::TempDir,
    _turn: Turn,
}

impl Site {
    pub fn start() -> Self {
        Self::start_from(&bin_dir(), &[])
    }

    /// With the binaries of this directory, and more arguments of the quickstart.
    pub fn start_from(bin: &Path, more: &[&str]) -> Self {
        let turn = Turn::take();
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("site");
        let log = scratch.path().join("quickstart.log");
        let mut quickstart = Command::new(bin.join("dvm"))
            .args(["quickstart", "--json", "--dir"])
            .arg(&dir)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = quickstart.stdout.take().unwrap();
        // The site is there before anything can fail: its drop ends the child.
        let mut site = Self {
            facts: Value::Null,
            dir,
            bin: bin.to_owned(),
            quickstart,
            restarted: Vec::new(),
            _scratch: scratch,
            _turn: turn,
        };
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            let _ = tell.send(read.map(|_| line));
        });
        let line = told.recv_timeout(STORY_TIME).expect("no object in time").unwrap();
        let log = std::fs::read_to_string(log).unwrap_or_default();
        site.facts = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}{log}"));
        site
    }

    /// Asks the quickstart to stop, and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        kill(self.pid_of_quickstart(), Signal::SIGTERM).unwrap();
        self.quickstart.wait().unwrap().code()
    }

    /// Waits for the quickstart to end by itself, as one with `--once` does.
    pub fn ended(&mut self) -> Option<i32> {
        self.quickstart.wait().unwrap().code()
    }

    fn pid_of_quickstart(&self) -> Pid {
        Pid::from_raw(self.quickstart.id().try_into().unwrap())
    }

    pub fn node(&self, at: usize) -> &Value {
        &self.facts["nodes"][at]
    }

    pub fn api(&self, at: usize) -> &str {
        self.node(at)["api"].as_str().unwrap()
    }

    pub fn pid(&self, at: usize) -> u64 {
        self.node(at)["pid"].as_u64().unwrap()
    }

    pub fn kernel_pid(&self, at: usize) -> u64 {
        self.node(at)["kernel_pid"].as_u64().unwrap()
    }

    /// The directory of a node.
    pub fn node_dir(&self, at: usize) -> PathBuf {
        self.dir.join(self.node(at)["node_id"].as_str().unwrap())
    }

    /// A path that the quickstart's object names.
    pub fn path(&self, field: &str) -> PathBuf {
        PathBuf::from(self.facts[field].as_str().unwrap())
    }

    /// The binary, with nothing of the caller's environment that could change what it does.
    pub fn dvm(&self) -> Command {
        let mut command = Command::new(self.bin.join("dvm"));
        for name in ["DVM_API", "DVM_TOKEN", "DVM_TOKEN_FILE", "DVM_KEY_FILE"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command with `--json`, against a node with the tokens of every role.
    pub fn cli(&self, at: usize, args: &[&str]) -> Ran {
        let mut command = self.dvm();
        command.args(args).args(["--json", "--api", self.api(at), "--token-file"]);
        ran(command.arg(self.path("tokens_path")))
    }

    /// The same, signed by a demo person.
    pub fn cli_as(&self, at: usize, person: &str, args: &[&str]) -> Ran {
        let people = self.dir.join("people");
        let (key, pass) = (people.join(format!("{person}.json")), "DEMO-PASSPHRASE.txt");
        let mut all = args.to_vec();
        let pass = people.join(pass);
        all.extend(["--yes", "--key-file", key.to_str().unwrap()]);
        all.extend(["--passphrase-file", pass.to_str().unwrap()]);
        self.cli(at, &all)
    }

    /// Asks for one and the same thing until its execution is in this state, or fails with what it was
    /// in last. A slow peer may let the first answer be `REMOTE_TIMEOUT`; that is not its end.
    pub fn asked(&self, at: usize, args: &[&str], state: &str) -> Value {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let name = format!("asked-{}", ASKED.fetch_add(1, Relaxed));
        let all = [args, &["--wait", "20", "--idempotency-key", &name]].concat();
        let (mut last, deadline) = (None, Instant::now() + SOON);
        while Instant::now() < deadline {
            let ran = self.cli(at, &all);
            match ran.view() {
                Some(view) if view["state"] == state => return view,
                view => last = Some((view, ran.err)),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not {state} in time: {args:?} {last:?}");
    }

    /// Looks at an execution until it is in this state at this node.
    pub fn shows(&self, at: usize, intent: &str, state: &str) -> Value {
        let mut last = None;
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            last = self.cli(at, &["execution", "show", intent, "--wait", "1"]).view();
            if let Some(view) = last.take_if(|view| view["state"] == state) {
                return view;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("node {at} does not show {intent} as {state}: {last:#?}");
    }

    /// A statement of a demo person, handed to a node as soon as it knows what it is about.
    pub fn says(&self, at: usize, person: &str, args: &[&str]) {
        let mut last = String::new();
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            let said = self.cli_as(at, person, args);
            if said.exit == 0 {
                return;
            }
            last = said.err;
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{person} is not heard: {args:?}: {last}");
    }

    /// A key with this floor, active at every node.
    pub fn key(&self, name: &str, admit: Option<&str>, release: &str) {
        let mut floor = vec!["--release", release];
        floor.extend(admit.into_iter().flat_map(|rule| ["--admit", rule]));
        self.key_with(name, &[], &floor);
    }

    /// A key that signs transactions by itself, and may do so by presignatures.
    pub fn evm_key(&self, name: &str) {
        let floor = ["--release", "auto", "--acts", "sign.evm_transaction,presign.batch"];
        self.key_with(name, &["--backend", "dkls23-secp256k1"], &floor);
    }

    /// A key made and activated with these arguments, active at every node.
    pub fn key_with(&self, name: &str, make: &[&str], floor: &[&str]) {
        let create = ["key", "create", name, "--threshold", "2"];
        self.asked(0, &[&create[..], make].concat(), "Published");
        let file = self.dir.join(format!("activate-{name}.dvm"));
        let file = file.to_str().unwrap();
        let mut propose = vec!["gov", "propose", "activate", name, "--proposer", "demo-gov-1"];
        propose.extend(["--per-hour", "100000", "--out", file]);
        propose.extend(floor);
        let what = "the key's facts are in the log";
        until(what, || (self.cli(0, &["key", "show", name]).exit == 0).then_some(()));
        self.cli(0, &propose).ok();
        for governor in ["demo-gov-1", "demo-gov-3"] {
            self.cli_as(0, governor, &["gov", "sign", file]).ok();
        }
        // It may answer before the log has it; what counts is seen below.
        self.cli(0, &["gov", "submit", file]);
        for at in 0..3 {
            until("the key is active", || {
                let shown = self.cli(at, &["key", "show", name]);
                (shown.exit == 0 && shown.json()["state"] == "Active").then_some(())
            });
        }
    }

    /// Kills a node and waits for the end of its kernel.
    pub fn kill_node(&mut self, at: usize) {
        if let Some(index) = self.restarted.iter().position(|(node, _)| *node == at) {
            let (_, mut child) = self.restarted.swap_remove(index);
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            kill_9(self.pid(at));
        }
        let kernel = self.kernel_pid(at);
        until("the kernel ends with its node", || (!alive(kernel)).then_some(()));
    }

    /// Starts a killed node again, as its operator would, and waits until it knows the others.
    pub fn restart_node(&mut self, at: usize) {
        let dir = self.node_dir(at);
        let log = File::options().create(true).append(true).open(dir.join("node.log")).unwrap();
        let child = self
            .dvm()
            .args(["node", "run", "--until-stdin-ends", "--config"])
            .arg(dir.join("node.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.restarted.push((at, child));
        let status = until("the restarted node is up", || {
            let status = self.cli(at, &["cluster", "status"]);
            (status.exit == 0 && status.json()["kernel_pid"] != 0).then(|| status.json())
        });
        self.facts["nodes"][at]["pid"] = status["pid"].clone();
        self.facts["nodes"][at]["kernel_pid"] = status["kernel_pid"].clone();
    }

    /// Waits until a node sees these others up.
    pub fn sees_up(&self, at: usize, others: &[usize]) {
        let names: Vec<&Value> = others.iter().map(|other| &self.node(*other)["node_id"]).collect();
        until("the nodes see each other", || {
            let status = self.cli(at, &["cluster", "status"]);
            let members = if status.exit == 0 { status.json() } else { Value::Null };
            let up = members["members"].as_array()?.iter().filter(|m| m["link"] == "up");
            let up: Vec<&Value> = up.map(|m| &m["node"]).collect();
            names.iter().all(|name| up.contains(name)).then_some(())
        });
    }

    /// Whether OpenSSL takes this signature of the file under the key.
    pub fn openssl_verifies(&self, key: &str, file: &Path, signature: &Path) -> bool {
        let pem = self.dir.join(format!("{key}.pem"));
        let live = (0..3).find(|at| alive(self.pid(*at))).unwrap();
        let shown = self.cli(live, &["key", "show", key]).ok();
        std::fs::write(&pem, shown["public_key_pem"].as_str().unwrap()).unwrap();
        openssl_verifies(&pem, file, signature)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for (_, child) in &mut self.restarted {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Ok(None) = self.quickstart.try_wait() {
            let _ = kill(self.pid_of_quickstart(), Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(30);
            while let Ok(None) = self.quickstart.try_wait() {
                if Instant::now() > deadline {
                    let _ = self.quickstart.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The check of issue and README, word for word.
pub fn openssl_verifies(pem: &Path, file: &Path, signature: &Path) -> bool {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-inkey"]).arg(pem).args(["-rawin", "-in"]);
    ran(openssl.arg(file).arg("-sigfile").arg(signature)).exit == 0
}
