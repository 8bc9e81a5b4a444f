//! What `cargo xtask bench` can be asked.

use std::path::PathBuf;

use super::SECTIONS;
use crate::Result;

pub(crate) const USAGE: &str = "\
What the gateway costs, beside other gateways, written into BENCHMARKS.md.

Usage: cargo xtask bench [OPTION…]

  --only A,B        only these: proxies costs allocations syscalls growth identity protocols
                    transfer chunks connections soak
  --seconds N       seconds of load per figure (4)
  --rounds N        interleaved rounds, of which the median counts (5)
  --ogeld PATH      measure this program instead of building one
  --soak MINUTES    also run half of the possible load for so long
  --quick           one round of one second, small counts: does it work? Writes nothing

$PEERS may name a folder with `pingora/target/release/pingora-peer` and `envoyenv/bin/envoy`.
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    only: Vec<String>,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) ogeld: Option<PathBuf>,
    pub(crate) soak_minutes: Option<u64>,
    pub(crate) quick: bool,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let quick = words.contains(&"--quick");
        let (seconds, rounds) = if quick { (1, 1) } else { (4, 5) };
        let mut options = Self { only: Vec::new(), seconds, rounds, ogeld: None, soak_minutes: None, quick };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value\n\n{USAGE}"));
            match word {
                "--quick" => {}
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--seconds" => options.seconds = number(word, value()?)?,
                "--rounds" => options.rounds = usize::try_from(number(word, value()?)?).unwrap_or(1),
                "--ogeld" => options.ogeld = Some(value()?.into()),
                "--soak" => options.soak_minutes = Some(number(word, value()?)?),
                _ => return Err(format!("there is no option `{word}`\n\n{USAGE}")),
            }
        }
        let strangers = |name: &&String| !SECTIONS.iter().any(|(known, _)| known == name);
        match options.only.iter().find(strangers) {
            Some(name) => Err(format!("there is nothing called `{name}` to measure\n\n{USAGE}")),
            None => Ok(options),
        }
    }

    /// Soaking takes its time, so it is done when asked for only.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let named = self.only.iter().any(|wanted| wanted == name);
        named || if name == "soak" { self.soak_minutes.is_some() } else { self.only.is_empty() }
    }

    /// One of two sizes.
    pub(crate) fn size<T>(&self, real: T, quick: T) -> T {
        if self.quick { quick } else { real }
    }
}

fn number(option: &str, text: &str) -> Result<u64> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{option}` takes a whole number above 0, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_strange_ones_refused() {
        let options = Options::parse(&["--quick", "--only", "proxies,costs", "--seconds", "2"]).unwrap();
        assert_eq!((options.seconds, options.rounds, options.quick), (2, 1, true));
        assert!(options.wants("costs") && !options.wants("growth") && !options.wants("soak"));
        assert!(Options::parse(&["--only", "nothing"]).is_err());
        assert!(Options::parse(&["--seconds", "0"]).is_err());
        assert!(Options::parse(&["--rounds"]).is_err());
    }
}
