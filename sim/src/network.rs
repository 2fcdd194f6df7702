//! The network: one ordered connection per pair of nodes, which can be cut, one way or both.
//!
//! Source: the node's transport (TLS over TCP): in order while a connection lasts; what was under way
//! when it ends is lost; both ends are told, sooner or later. Beyond that, a seed may reorder, drop,
//! duplicate and delay single messages, which TCP does not do; the engine must stand that, too.

use crate::coverage::Kind;
use crate::world::{Event, World};

/// Connections between nodes.
pub(crate) struct Network {
    n: usize,
    /// Raised when a connection ends: what was under way on an earlier one is lost.
    lines: Vec<u64>,
    /// When the last message of a direction arrives.
    last_ms: Vec<u64>,
    /// Until when a direction loses everything.
    cut_until_ms: Vec<u64>,
}

impl Network {
    pub(crate) fn new(n: usize) -> Self {
        let all = n.saturating_mul(n);
        Self { n, lines: vec![0; all], last_ms: vec![0; all], cut_until_ms: vec![0; all] }
    }

    fn at(&self, from: usize, to: usize) -> usize {
        from.saturating_mul(self.n).saturating_add(to)
    }

    /// The connection that carries messages in this direction now.
    pub(crate) fn line(&self, from: usize, to: usize) -> u64 {
        self.lines.get(self.at(from, to)).copied().unwrap_or(0)
    }

    fn end(&mut self, a: usize, b: usize) {
        for place in [self.at(a, b), self.at(b, a)] {
            if let Some(line) = self.lines.get_mut(place) {
                *line = line.saturating_add(1);
            }
        }
    }

    fn is_cut(&self, from: usize, to: usize, now_ms: u64) -> bool {
        self.cut_until_ms.get(self.at(from, to)).is_some_and(|until| now_ms < *until)
    }

    /// Loses everything in this direction until then.
    pub(crate) fn cut(&mut self, from: usize, to: usize, until_ms: u64) {
        let place = self.at(from, to);
        if let Some(until) = self.cut_until_ms.get_mut(place) {
            *until = until_ms.max(*until);
        }
    }

    pub(crate) fn mend(&mut self) {
        self.cut_until_ms.fill(0);
    }
}

impl World {
    /// Puts a message on its way.
    pub(crate) fn transmit(&mut self, from: usize, to: usize, delay_ms: u64, bytes: Vec<u8>) {
        let now = self.now_ms;
        if self.network.is_cut(from, to, now) {
            self.coverage.took_effect(Kind::Partition);
            return;
        }
        let rates = self.plan.rates;
        let mut copies = 1;
        let mut late_ms = delay_ms;
        if !self.healed {
            if self.dice.permille(rates.drop) {
                self.coverage.took_effect(Kind::Drop);
                self.story.fault(now, from, Kind::Drop);
                return;
            }
            if self.dice.permille(rates.duplicate) {
                self.coverage.took_effect(Kind::Duplicate);
                copies = 2;
            }
            if self.dice.permille(rates.delay) {
                self.coverage.took_effect(Kind::Delay);
                late_ms = late_ms.saturating_add(self.dice.between(200, 3000));
            }
        }
        let (line, place) = (self.network.line(from, to), self.network.at(from, to));
        for _ in 0..copies {
            let mut at = now.saturating_add(self.dice.between(1, 4)).saturating_add(late_ms);
            let last = self.network.last_ms.get(place).copied().unwrap_or(0);
            if !self.healed && self.dice.permille(rates.reorder) {
                self.coverage.took_effect(Kind::Reorder);
                at = at.saturating_add(self.dice.between(0, 40));
            } else {
                at = at.max(last);
                if let Some(last) = self.network.last_ms.get_mut(place) {
                    *last = at;
                }
            }
            self.at(at, Event::Deliver { from, to, line, bytes: bytes.clone() });
        }
    }

    /// A node is there: connections to everyone that it can reach.
    pub(crate) fn connect(&mut self, node: usize) {
        for peer in 0..self.hosts.len() {
            if peer != node && self.is_up(peer) {
                self.reconnect(node, peer);
            }
        }
    }

    /// A fresh connection of two nodes; both are told.
    pub(crate) fn reconnect(&mut self, a: usize, b: usize) {
        let now = self.now_ms;
        if self.network.is_cut(a, b, now) || self.network.is_cut(b, a, now) {
            return;
        }
        self.network.end(a, b);
        for (node, peer) in [(a, b), (b, a)] {
            let life = self.hosts.get(node).map_or(0, |h| h.life);
            let ms = self.dice.between(1, 20);
            self.after(ms, Event::Line { node, life, peer, up: true });
        }
    }

    /// A node is gone: its peers notice.
    pub(crate) fn disconnect(&mut self, node: usize) {
        for peer in 0..self.hosts.len() {
            if peer != node {
                self.hang_up(node, peer);
            }
        }
    }

    /// The connection of two nodes ends; both are told, sooner or later.
    pub(crate) fn hang_up(&mut self, a: usize, b: usize) {
        self.network.end(a, b);
        for (node, peer) in [(a, b), (b, a)] {
            let life = self.hosts.get(node).map_or(0, |h| h.life);
            let ms = self.dice.between(1, 300);
            self.after(ms, Event::Line { node, life, peer, up: false });
        }
    }
}
