//! How faults are done to the world: to processes, disks, clocks and lines.

use dvm_core::ReasonCode;
use dvm_core::call::KernelReply;

use crate::coverage::Kind;
use crate::disk::{Tear, VaultFiles, log_len};
use crate::host::Item;
use crate::limit;
use crate::plan::{Fate, Fault, journal_kind, vault_kind};
use crate::world::{Done, Event, Halt, World};

/// Between the death of a kernel and that of its node.
const ORPHAN_MS: u64 = 40;

impl World {
    /// A scheduled fault happens.
    pub(crate) fn fault(&mut self, fault: Fault) -> Done {
        match fault {
            Fault::Crash { node } => self.crash(node, None, Kind::Crash),
            Fault::KernelDies { node } => self.kernel_dies(node),
            Fault::Cut { from, to, both, for_ms, noticed } => {
                let until = self.now_ms.saturating_add(for_ms);
                self.network.cut(from, to, until);
                if both {
                    self.network.cut(to, from, until);
                } else {
                    self.coverage.took_effect(Kind::OneWay);
                }
                self.story.line(self.now_ms, from, || {
                    format!("is cut off n{} for {for_ms} ms, both ways: {both}", to + 1)
                });
                if noticed {
                    self.hang_up(from, to);
                    self.at(until, Event::Fault(Fault::Mend { a: from, b: to }));
                }
                Ok(())
            }
            Fault::Mend { a, b } => {
                if self.is_up(a) && self.is_up(b) {
                    self.reconnect(a, b);
                }
                Ok(())
            }
            Fault::Clock { node, by_ms } => {
                let kind = if by_ms > 0 { Kind::ClockForward } else { Kind::ClockBack };
                self.coverage.took_effect(kind);
                self.story.fault(self.now_ms, node, kind);
                let host = self.host(node)?;
                host.skew_ms = host.skew_ms.saturating_add(by_ms);
                Ok(())
            }
            Fault::Copy { node } => {
                let copy = self.copy_of(node)?;
                self.copies.insert(node, copy);
                Ok(())
            }
            Fault::Rollback { node, vault, journal } => self.roll_back(node, vault, journal),
            Fault::Heal => self.heal(),
        }
    }

    /// The kernel is gone; its node's engine goes on for a moment, unanswered, and ends.
    fn kernel_dies(&mut self, node: usize) -> Done {
        let now_ms = self.now_ms;
        self.story.fault(now_ms, node, Kind::KernelDies);
        let Ok(host) = self.host(node) else { return Ok(()) };
        if host.alive.is_none() {
            return Ok(());
        }
        // Calls that get no answer settle nothing: the node ends before it would hear.
        host.kernel_busy = true;
        host.calls.clear();
        self.coverage.took_effect(Kind::KernelDies);
        self.after(ORPHAN_MS, Event::Fault(Fault::Crash { node }));
        Ok(())
    }

    /// An older copy of a node's directory is put back while it is down.
    fn roll_back(&mut self, node: usize, vault: bool, journal: bool) -> Done {
        let Some((files, tables)) = self.copies.get(&node).cloned() else { return Ok(()) };
        let kind = Fault::Rollback { node, vault, journal }.kind().unwrap_or(Kind::RollbackBoth);
        self.judge.rolled_back(self.name(node));
        if !self.is_up(node) {
            self.after(100, Event::Fault(Fault::Rollback { node, vault, journal }));
            return Ok(());
        }
        self.crash(node, vault.then_some(files), kind)?;
        if journal {
            self.host(node)?.tables = tables;
        }
        Ok(())
    }

    /// All faults end; whoever is down comes up, and everybody is connected anew.
    fn heal(&mut self) -> Done {
        self.healed = true;
        self.network.mend();
        self.story.line(self.now_ms, usize::MAX, || "all faults are over".to_owned());
        if let Some(liar) = &mut self.liar {
            liar.stop();
        }
        for node in 0..self.hosts.len() {
            if self.hosts.get(node).is_some_and(|h| h.disk_broken) {
                self.crash(node, None, Kind::NoSpace)?;
            }
            self.restart(node)?;
        }
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            self.hang_up(a, b);
            self.after(400, Event::Fault(Fault::Mend { a, b }));
        }
        Ok(())
    }

    /// The kernel's next call, and what its disk does to it.
    pub(crate) fn kernel_turn(&mut self, node: usize) -> Done {
        let now_ms = self.now_ms;
        let liar_calls = self.hostile_call(node)?;
        let host = self.host(node)?;
        let Some(asked) = host.calls.pop_front() else {
            host.kernel_busy = false;
            return Ok(());
        };
        let call = liar_calls.unwrap_or(*asked.call);
        let (life, written) = (host.life, host.kernel_commits);
        let (before, dir) = (log_len(&host.dir), host.dir.clone());
        self.watch_call(node, &call);
        let fate = self.vault_fate(node, written.saturating_add(1));
        let answered = match fate {
            Some(Fate::NoSpace(bytes)) => {
                let full = limit::files_end_at(before.saturating_add(bytes))?;
                let host = self.host(node)?;
                host.disk_broken = true;
                let answered = host.call(call.clone(), now_ms);
                drop(full);
                answered
            }
            _ => self.host(node)?.call(call.clone(), now_ms),
        };
        let Some((reply, made)) = answered else { return Ok(()) };
        let broken = self.host(node)?.disk_broken;
        if broken && matches!(&reply, KernelReply::Refused { code: ReasonCode::Internal, .. }) {
            self.coverage.took_effect(Kind::NoSpace);
            self.story.fault(now_ms, node, Kind::NoSpace);
        }
        let reached = (1..=made).find_map(|n| self.vault_fate(node, written.saturating_add(n)));
        if let Some(fate) = reached.filter(|fate| !matches!(fate, Fate::NoSpace(_))) {
            self.forget_vault_fate(node);
            let mut files = VaultFiles::read(&dir)?;
            let torn = match fate {
                Fate::Before => files.tear(before, Tear::Whole),
                Fate::Torn(tear) => files.tear(before, tear),
                _ => true,
            };
            let kind = if torn { vault_kind(fate) } else { Kind::AfterWrite };
            return self.crash(node, Some(files), kind);
        }
        self.watch_reply(node, &call, &reply, made)?;
        let (token, reply) = (asked.token, Box::new(reply));
        self.after(1, Event::KernelSays { node, life, token, reply });
        self.after(1, Event::KernelTurn { node, life });
        Ok(())
    }

    fn vault_fate(&self, node: usize, write: u64) -> Option<Fate> {
        let due = |f: &&crate::plan::DiskFault| {
            f.node == node
                && match f.fate {
                    // A full disk stays full until its node is restarted.
                    Fate::NoSpace(_) => write >= f.write,
                    _ => write == f.write,
                }
        };
        self.plan.vault.iter().find(due).map(|f| f.fate).filter(|_| !self.healed)
    }

    fn forget_vault_fate(&mut self, node: usize) {
        self.plan.vault.retain(|f| f.node != node);
    }

    /// The journal's turn: all queued writes in one transaction, then what waited for them.
    pub(crate) fn journal_turn(&mut self, node: usize) -> Done {
        let host = self.host(node)?;
        host.journal_busy = false;
        let items: Vec<Item> = host.journal.drain(..).collect();
        let written = host.written;
        let writes = items.iter().any(|item| matches!(item, Item::Write(_)));
        let mut fate = None;
        if writes {
            let number = host.journal_commits.saturating_add(1);
            host.journal_commits = number;
            let healed = self.healed;
            let due = |f: &&crate::plan::DiskFault| f.node == node && f.write == number;
            fate = self.plan.journal.iter().find(due).map(|f| f.fate).filter(|_| !healed);
        }
        // What waits for no write is out before the transaction ends, as in the real journal.
        let (mut early, mut late, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Write(batch) => batches.push(batch),
                other if batches.is_empty() => early.push(other),
                other => late.push(other),
            }
        }
        for item in early {
            self.release(node, item)?;
        }
        if fate == Some(Fate::Before) {
            return self.crash(node, None, Kind::BeforeGroup);
        }
        for batch in batches {
            self.watch_batch(node, &batch)?;
            if !self.host(node)?.tables.apply(batch) {
                return Err(Halt::Sim(crate::SimError::Shape("an insert met an existing key")));
            }
        }
        self.host(node)?.durable = written;
        let out = match fate {
            Some(Fate::MidRelease(n)) => n,
            Some(_) => 0,
            None => usize::MAX,
        };
        for item in late.into_iter().take(out) {
            self.release(node, item)?;
        }
        match fate {
            Some(fate) => self.crash(node, None, journal_kind(fate)),
            None => Ok(()),
        }
    }
}
