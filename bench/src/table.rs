//! The table: one row per measure, beside what it is measured against.
//!
//! Always true: a verdict is printed and never judged by; without something to compare with there is
//! none.

use serde_json::{Value, json};

/// What a figure is measured against.
#[derive(Clone, Debug)]
pub enum Against {
    /// Nothing: it explains another figure.
    Nothing,
    /// An aim of ours: not above it.
    AtMost(f64),
    /// An aim of ours: not below it.
    AtLeast(f64),
    /// The same work done by somebody else's code, in the same run, and the ratio aimed at.
    Peer {
        /// Whose.
        who: &'static str,
        /// Its figure.
        figure: f64,
        /// Ours divided by theirs is to be no more.
        ratio_max: f64,
    },
    /// The same work, in the same run, without an aim.
    Reference {
        /// Whose.
        who: &'static str,
        /// Its figure.
        figure: f64,
    },
}

/// One measure.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which section it belongs to.
    pub section: &'static str,
    /// What was measured.
    pub measure: String,
    /// The figure.
    pub ours: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it is measured against.
    pub against: Against,
}

impl Row {
    /// A row.
    pub fn new(
        section: &'static str,
        measure: impl Into<String>,
        (ours, unit): (f64, &'static str),
        against: Against,
    ) -> Self {
        Self { section, measure: measure.into(), ours, unit, against }
    }

    /// Whether the aim is met, if there is one.
    pub fn met(&self) -> Option<bool> {
        match self.against {
            Against::Nothing | Against::Reference { .. } => None,
            Against::AtMost(aim) => Some(self.ours <= aim),
            Against::AtLeast(aim) => Some(self.ours >= aim),
            Against::Peer { figure, ratio_max, .. } => Some(self.ours / figure <= ratio_max),
        }
    }

    fn ratio(&self) -> Option<f64> {
        match self.against {
            Against::Peer { figure, .. } | Against::Reference { figure, .. } => {
                Some(self.ours / figure)
            }
            _ => None,
        }
    }

    fn beside(&self) -> String {
        match &self.against {
            Against::Nothing => String::new(),
            Against::AtMost(aim) => format!("<= {}", short(*aim)),
            Against::AtLeast(aim) => format!(">= {}", short(*aim)),
            Against::Peer { who, figure, .. } | Against::Reference { who, figure } => {
                format!("{} {who}", short(*figure))
            }
        }
    }

    fn verdict(&self) -> String {
        let met = match self.met() {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let aim = match self.against {
            Against::Peer { ratio_max, .. } => format!(" (<= {ratio_max})"),
            _ => String::new(),
        };
        let ratio = self.ratio().map(|ratio| format!("x {ratio:.2}{aim}")).unwrap_or_default();
        [ratio, met.to_owned()]
            .iter()
            .filter(|s| !s.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// As a line of the table.
    pub fn line(&self) -> String {
        format!(
            "{:<10} {:<52} {:>9} {:<7} {:<24} {}",
            self.section,
            self.measure,
            short(self.ours),
            self.unit,
            self.beside(),
            self.verdict()
        )
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let (kind, who, figure) = match &self.against {
            Against::Nothing => ("nothing", None, None),
            Against::AtMost(aim) => ("at_most", None, Some(aim)),
            Against::AtLeast(aim) => ("at_least", None, Some(aim)),
            Against::Peer { who, figure, .. } => ("peer", Some(who), Some(figure)),
            Against::Reference { who, figure } => ("reference", Some(who), Some(figure)),
        };
        json!({
            "section": self.section, "measure": self.measure, "ours": self.ours, "unit": self.unit,
            "against": kind, "who": who, "figure": figure, "ratio": self.ratio(), "met": self.met(),
        })
    }
}

/// The table's head.
pub fn head() -> String {
    format!(
        "{:<10} {:<52} {:>9} {:<7} {:<24} {}",
        "section", "measure", "ours", "unit", "aim or peer", "ratio, verdict"
    )
}

/// Three figures that tell, whatever the size.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(ours: f64, against: Against) -> Option<bool> {
        Row::new("s", "m", (ours, "ms"), against).met()
    }

    #[test]
    fn an_aim_is_met_at_its_value_and_missed_just_beyond() {
        assert_eq!(met(5.0, Against::AtMost(5.0)), Some(true));
        assert_eq!(met(5.1, Against::AtMost(5.0)), Some(false));
        assert_eq!(met(30.0, Against::AtLeast(30.0)), Some(true));
        assert_eq!(met(29.9, Against::AtLeast(30.0)), Some(false));
        let peer = || Against::Peer { who: "x", figure: 2.0, ratio_max: 1.5 };
        assert_eq!(met(3.0, peer()), Some(true));
        assert_eq!(met(3.1, peer()), Some(false));
        assert_eq!(met(1.0, Against::Nothing), None);
        assert_eq!(met(1.0, Against::Reference { who: "x", figure: 0.5 }), None);
    }

    #[test]
    fn a_line_shows_the_figure_the_aim_and_the_verdict() {
        let row = Row::new("vm", "step", (7.125, "us"), Against::AtMost(5.0));
        let line = row.line();
        assert!(line.contains("7.12") && line.contains("<= 5.00") && line.contains("MISSED"));
        let peer = Against::Peer { who: "frost", figure: 100.0, ratio_max: 1.15 };
        let line = Row::new("microcode", "sign", (110.0, "us"), peer).line();
        assert!(line.contains("x 1.10 (<= 1.15) met"), "{line}");
    }
}
