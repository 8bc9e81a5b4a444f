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

    fn row(&self, seed: u64) -> String {
        let tried = self.notes.join("<br>");
        format!("{}{} | {tried} | {} | {seed} |\n", self.beginning(), self.load, self.verdicts().join("<br>"))
    }

    /// What tells its row from the others.
    fn beginning(&self) -> String {
        format!("| {} | ", self.fault)
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

const HEAD: &str = "| fault | load | tried | counted | seed |\n|---|---|---|---|---|\n";

/// Replaces the rows of what was tried in the table of RELIABILITY.md; others stay as they are.
pub(crate) fn write(workspace: &Workspace, seed: u64, outcomes: &[Outcome]) -> Result {
    let path = workspace.root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("`{FILE}` cannot be read: {error}"))?;
    let replaced = replace(&text, seed, outcomes)?;
    std::fs::write(&path, replaced).map_err(|error| format!("`{FILE}`: {error}"))?;
    println!("written into {FILE}");
    Ok(())
}

fn replace(text: &str, seed: u64, outcomes: &[Outcome]) -> Result<String> {
    let missing = || format!("`{FILE}` has no place for results: `{BEGIN}` and `{END}`");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (table, after) = rest.split_once(END).ok_or_else(missing)?;
    let mut rows: Vec<String> = table.trim().lines().skip(2).map(|line| format!("{line}\n")).collect();
    for outcome in outcomes {
        let row = outcome.row(seed);
        match rows.iter_mut().find(|known| known.starts_with(&outcome.beginning())) {
            Some(known) => *known = row,
            None => rows.push(row),
        }
    }
    Ok(format!("{before}{BEGIN}\n{HEAD}{}{END}{after}", rows.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_the_place_of_the_one_about_the_same_fault() {
        let mut first = Outcome::new("fire", "10 reads");
        first.none("lost", 1);
        let second = Outcome::new("flood", "writes");
        let text = replace(&format!("a\n{BEGIN}\n{END}\nb\n"), 1, &[first, second]).unwrap();
        assert!(
            text.contains("| fire | 10 reads |  | lost: 1 **(not held)** | 1 |\n| flood | writes |  |  | 1 |\n"),
            "{text}"
        );
        let mut again = Outcome::new("fire", "10 reads");
        again.none("lost", 0);
        let text = replace(&text, 2, &[again]).unwrap();
        assert_eq!(
            text,
            format!("a\n{BEGIN}\n{HEAD}| fire | 10 reads |  | lost: 0 | 2 |\n| flood | writes |  |  | 1 |\n{END}\nb\n")
        );
    }
}
