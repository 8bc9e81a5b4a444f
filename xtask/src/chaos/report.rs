//! What a row has to say: what was broken under which load, how much was tried, and what was counted.

use std::time::Duration;

use crate::Result;
use crate::workspace::Workspace;

const FILE: &str = "RELIABILITY.md";
const BEGIN: &str = "<!-- results: written by `cargo xtask chaos` -->";
const END: &str = "<!-- end of results -->";

pub(crate) struct Outcome {
    fault: String,
    load: String,
    /// What was counted, what it may be at most, and whether it is.
    counts: Vec<(String, f64, f64)>,
    notes: Vec<String>,
}

impl Outcome {
    pub(crate) fn new(fault: impl Into<String>, load: impl Into<String>) -> Self {
        Self { fault: fault.into(), load: load.into(), counts: Vec::new(), notes: Vec::new() }
    }

    /// A count that must not be above `limit`.
    pub(crate) fn at_most(&mut self, what: &str, count: f64, limit: f64) {
        self.counts.push((what.to_owned(), count, limit));
    }

    /// A count that must be 0.
    pub(crate) fn none(&mut self, what: &str, count: usize) {
        self.at_most(what, f64::from(u32::try_from(count).unwrap_or(u32::MAX)), 0.0);
    }

    /// What was tried, or seen besides.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn holds(&self) -> bool {
        self.counts.iter().all(|(_, count, limit)| count <= limit)
    }

    fn verdicts(&self) -> Vec<String> {
        let one = |(what, count, limit): &(String, f64, f64)| {
            let verdict = if count <= limit { "" } else { " **(not held)**" };
            let limit = if *limit == 0.0 { String::new() } else { format!(", at most {}", number(*limit)) };
            format!("{what}: {}{limit}{verdict}", number(*count))
        };
        self.counts.iter().map(one).collect()
    }

    pub(crate) fn print(&self, took: Duration) {
        println!("{}; {} ({} s)", self.fault, self.load, took.as_secs());
        for line in self.verdicts().iter().chain(&self.notes) {
            println!("  {line}");
        }
    }

    fn row(&self) -> String {
        let tried = self.notes.join("<br>");
        format!("| {} | {} | {tried} | {} |\n", self.fault, self.load, self.verdicts().join("<br>"))
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Replaces the table in RELIABILITY.md.
pub(crate) fn write(workspace: &Workspace, seed: u64, outcomes: &[Outcome]) -> Result {
    let path = workspace.root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("`{FILE}` cannot be read: {error}"))?;
    let (Some(from), Some(to)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("`{FILE}` has no place for results: `{BEGIN}` and `{END}`"));
    };
    let rows: String = outcomes.iter().map(Outcome::row).collect();
    let table = format!(
        "{BEGIN}\nSeed {seed}.\n\n| fault | load | tried | counted |\n|---|---|---|---|\n{rows}{}",
        &text[to..]
    );
    std::fs::write(&path, format!("{}{table}", &text[..from])).map_err(|error| format!("`{FILE}`: {error}"))?;
    println!("written into {FILE}");
    Ok(())
}
