//! The processes of a campaign: started, killed, awaited, started again.
//!
//! Always true: a node whose kernel was killed ends by itself, or that is a problem; whatever ends without
//! having been killed is a problem; dropping the fleet ends every process.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Seeded;
use crate::site::Site;

/// Longest time for a process to end after its kill, or to be up after its start.
const LONG: Duration = Duration::from_secs(90);
/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Node(usize),
    Kernel(usize),
    Witness,
}

impl Victim {
    /// Nodes and kernels alike; the witness, which decides nothing, now and then.
    pub fn drawn(random: &mut Seeded) -> Self {
        let at = random.below(3) as usize;
        match random.below(16) {
            0 => Self::Witness,
            n if n % 2 == 0 => Self::Node(at),
            _ => Self::Kernel(at),
        }
    }

    fn member(self) -> usize {
        match self {
            Self::Node(at) | Self::Kernel(at) => at,
            Self::Witness => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Kernel(_) => "kernel",
            Self::Witness => "witness",
        }
    }
}

enum State {
    Down { until: Instant },
    Starting { child: Child, since: Instant },
    Up { child: Child },
    Dying { child: Child, since: Instant, restart_after: Duration },
}

struct Member {
    name: String,
    role: &'static str,
    dir: PathBuf,
    state: State,
    /// Variables of its next start, with which it is to die by itself; see `points.rs`.
    dies: Option<Vec<(String, String)>>,
}

/// All of them.
pub struct Fleet<'a> {
    site: &'a Site,
    members: Vec<Member>,
    pub problems: Vec<String>,
    /// How those ended that were to die by themselves.
    pub crashed: Vec<String>,
    /// How a node ended whose kernel was killed: exit code → count.
    ends: BTreeMap<String, u64>,
    kills: BTreeMap<String, u64>,
    returns_ms: Vec<u64>,
}

impl<'a> Fleet<'a> {
    pub fn new(site: &'a Site) -> Self {
        let member = |name: &str, role| Member {
            name: name.to_owned(),
            role,
            dir: site.dir.join(name),
            state: State::Down { until: Instant::now() },
            dies: None,
        };
        let nodes = (0..3).map(|at| member(site.node(at)["node_id"].as_str().unwrap(), "node"));
        let members = nodes.chain([member("w1", "witness")]).collect();
        Self {
            site,
            members,
            problems: Vec::new(),
            crashed: Vec::new(),
            ends: BTreeMap::new(),
            kills: BTreeMap::new(),
            returns_ms: Vec::new(),
        }
    }

    /// Has a node start with these variables and expects that it dies by itself then.
    pub fn runs(&mut self, at: usize, dies: Option<Vec<(String, String)>>) {
        self.members[at].dies = dies;
    }

    /// Members that answer.
    pub fn up(&self) -> usize {
        self.members.iter().filter(|m| matches!(m.state, State::Up { .. })).count()
    }

    /// Looks after the processes for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look();
            std::thread::sleep(LOOK);
        }
    }

    /// Looks after the processes until all are up.
    pub fn all_up(&mut self) {
        let deadline = Instant::now() + 2 * LONG;
        while self.up() < self.members.len() {
            self.look();
            std::thread::sleep(LOOK);
            assert!(Instant::now() < deadline, "not all came back: {:?}", self.problems);
        }
    }

    /// Kills, if there is something to be killed; says whether it did.
    pub fn kill(&mut self, victim: Victim, restart_after: Duration, busy: bool) -> bool {
        let member = &mut self.members[victim.member()];
        let gone = State::Down { until: Instant::now() };
        let (child, phase) = match std::mem::replace(&mut member.state, gone) {
            State::Up { child } => (child, "at work"),
            State::Starting { child, .. } => (child, "starting"),
            other => {
                member.state = other;
                return false;
            }
        };
        let phase = if phase == "at work" && !busy { "idle" } else { phase };
        let pid = match victim {
            Victim::Kernel(_) => kernel_of(child.id()),
            _ => Some(child.id()),
        };
        let hit = pid.is_some_and(|pid| {
            kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).is_ok()
        });
        let since = Instant::now();
        member.state = match phase {
            _ if hit => State::Dying { child, since, restart_after },
            "starting" => State::Starting { child, since },
            _ => State::Up { child },
        };
        if hit {
            *self.kills.entry(format!("{} {phase}", victim.name())).or_default() += 1;
        }
        hit
    }

    /// One look at every process.
    pub fn look(&mut self) {
        for at in 0..self.members.len() {
            self.look_at(at);
        }
    }

    fn look_at(&mut self, at: usize) {
        let gone = State::Down { until: Instant::now() };
        let state = std::mem::replace(&mut self.members[at].state, gone);
        self.members[at].state = match state {
            State::Down { until } if Instant::now() < until => State::Down { until },
            State::Down { .. } => self.started(at),
            State::Starting { mut child, since } => match child.try_wait().unwrap() {
                Some(status) => self.ended_by_itself(at, status),
                None if self.answers(at) => {
                    self.returns_ms.push(since.elapsed().as_millis() as u64);
                    State::Up { child }
                }
                None => {
                    self.not_too_long(at, since, "is not up");
                    State::Starting { child, since }
                }
            },
            State::Up { mut child } => match child.try_wait().unwrap() {
                Some(status) => self.ended_by_itself(at, status),
                None => State::Up { child },
            },
            State::Dying { mut child, since, restart_after } => match child.try_wait().unwrap() {
                Some(status) => {
                    *self.ends.entry(shown(status)).or_default() += 1;
                    State::Down { until: Instant::now() + restart_after }
                }
                None => {
                    self.not_too_long(at, since, "does not end after its kernel's kill");
                    State::Dying { child, since, restart_after }
                }
            },
        };
    }

    fn not_too_long(&mut self, at: usize, since: Instant, what: &str) {
        if since.elapsed() > LONG {
            let member = &self.members[at];
            panic!("{} {what} after {LONG:?}; its log ends with:\n{}", member.name, tail(member));
        }
    }

    fn ended_by_itself(&mut self, at: usize, status: ExitStatus) -> State {
        let member = &mut self.members[at];
        if member.dies.take().is_some() {
            self.crashed.push(shown(status));
            return State::Down { until: Instant::now() };
        }
        let member = &self.members[at];
        let what = format!("{} ended by itself: {}: {}", member.name, shown(status), tail(member));
        self.problems.push(what);
        State::Down { until: Instant::now() + Duration::from_millis(500) }
    }

    fn started(&self, at: usize) -> State {
        let member = &self.members[at];
        let log = member.dir.join(format!("{}.log", member.role));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.site.dvm();
        command.envs(member.dies.iter().flatten().cloned());
        let config = member.dir.join(format!("{}.toml", member.role));
        let child = command
            .args([member.role, "run", "--until-stdin-ends", "--config"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        State::Starting { child, since: Instant::now() }
    }

    /// Whether a member takes calls; a witness has none, so being there is enough.
    fn answers(&self, at: usize) -> bool {
        if self.members[at].role == "witness" {
            return true;
        }
        let url = format!("{}/healthz", self.site.api(at));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(2)));
        let agent: ureq::Agent = config.build().into();
        agent.get(url).call().is_ok()
    }

    pub fn report(&self) -> Value {
        let mut sorted = self.returns_ms.clone();
        sorted.sort_unstable();
        let mut all = serde_json::Map::new();
        let count: u64 = self.kills.values().sum();
        all.insert("kills".into(), count.into());
        all.extend(self.kills.iter().map(|(name, n)| (name.clone(), json!(n))));
        all.extend(
            self.ends.iter().map(|(how, n)| (format!("process ended with {how}"), json!(n))),
        );
        all.insert("start to first answer, median ms".into(), json!(sorted.get(sorted.len() / 2)));
        all.insert("start to first answer, longest ms".into(), json!(sorted.last()));
        all.into()
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        for member in &mut self.members {
            match &mut member.state {
                State::Down { .. } => {}
                State::Starting { child, .. }
                | State::Up { child }
                | State::Dying { child, .. } => {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        }
    }
}

/// The kernel that this node started, if it has.
fn kernel_of(node: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{node}/task")).ok()?;
    let children = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<u32> = children
        .flat_map(|c| c.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
        .collect();
    all.into_iter().find(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "dvm-kernel"
    })
}

fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

fn tail(member: &Member) -> String {
    let log = member.dir.join(format!("{}.log", member.role));
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("\n")
}
