//! What a benchmark has to say: a table, the bounds to hold, and notes; printed, and put into BENCHMARKS.md.

use std::fmt::Write as _;
use std::process::Command;

use crate::workspace::Workspace;
use crate::{Result, shell};

const FILE: &str = "BENCHMARKS.md";
const BEGIN: &str = "<!-- results: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of results -->";

/// One table.
pub(crate) struct Section {
    pub(crate) title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    bounds: Vec<String>,
    notes: Vec<String>,
    pub(crate) lost: usize,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|&word| word.to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new(), bounds: Vec::new(), notes: Vec::new(), lost: 0 }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A bound to hold. What could not be measured is not held.
    pub(crate) fn at_most(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        let held = measured <= limit;
        self.lost += usize::from(!held);
        let verdict = if held { "held" } else { "**not held**" };
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        self.bounds.push(format!("{verdict}: {what} {}{unit}, at most {}{unit}", figure(measured), figure(limit)));
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        if !self.rows.is_empty() {
            let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
            text.push_str(&line(&self.head));
            let rules = (0..self.head.len()).map(|column| if column == 0 { "---" } else { "--:" });
            text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
            text.extend(self.rows.iter().map(|row| line(row)));
            text.push('\n');
        }
        for bound in &self.bounds {
            let _ = writeln!(text, "- {bound}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }
}

/// With as many digits as mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "not measured".to_owned(),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub(crate) fn print(section: &Section) {
    println!("\n{}", section.markdown());
}

/// Replaces in BENCHMARKS.md what was measured now, by its name, and leaves the other sections alone.
pub(crate) fn write(workspace: &Workspace, conditions: &str, sections: &[(&str, Vec<Section>)]) -> Result {
    let path = workspace.root.join(FILE);
    let mut text = std::fs::read_to_string(&path).map_err(|error| format!("`{FILE}` cannot be read: {error}"))?;
    for (name, tables) in sections {
        let body: Vec<String> = tables.iter().map(Section::markdown).collect();
        text = replaced(&text, name, &format!("{conditions}\n\n{}", body.join("\n")))?;
    }
    std::fs::write(&path, text).map_err(|error| format!("`{FILE}` cannot be written: {error}"))?;
    println!("written into {FILE}");
    Ok(())
}

fn replaced(text: &str, name: &str, body: &str) -> Result<String> {
    let (from, to) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let block = format!("{from}\n{}\n{to}", body.trim_end());
    if let (Some(start), Some(end)) = (text.find(&from), text.find(&to)) {
        return Ok(format!("{}{block}{}", &text[..start], &text[end + to.len()..]));
    }
    let missing = || format!("`{FILE}` has no place for results: `{BEGIN}` and `{END}`");
    let end = text.find(END).filter(|_| text.contains(BEGIN)).ok_or_else(missing)?;
    Ok(format!("{}{block}\n\n{}", &text[..end], &text[end..]))
}

/// Under what it was measured, without anything that tells one machine from its like.
pub(crate) fn conditions(seconds: u64, rounds: usize) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = shell::output(Command::new("uname").args(["-s", "-r"])).unwrap_or_default();
    // What comes after the version's numbers is a machine's or a distribution's own.
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    format!("{cores} cores ({model}), {kernel}; {rounds} rounds of {seconds} s, medians.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_a_new_one_added() {
        let text = format!("before\n{BEGIN}\n{END}\nafter\n");
        let one = replaced(&text, "a", "first\n").unwrap();
        let two = replaced(&one, "b", "second").unwrap();
        let three = replaced(&two, "a", "third").unwrap();
        assert_eq!(
            three,
            format!(
                "before\n{BEGIN}\n<!-- a -->\nthird\n<!-- /a -->\n\n<!-- b -->\nsecond\n<!-- /b -->\n\n{END}\nafter\n"
            )
        );
        assert!(replaced("nothing", "a", "x").is_err());
    }

    #[test]
    fn what_was_not_measured_is_not_held() {
        let mut section = Section::new("t", &["a"]);
        section.at_most("x", f64::NAN, 1.0, "");
        section.at_most("y", 1.0, 1.0, "ms");
        assert_eq!(section.lost, 1);
        assert!(section.markdown().contains("- held: y 1 ms, at most 1 ms"));
    }
}
