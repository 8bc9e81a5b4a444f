//! Load, made by `wrk` (HTTP/1.1) and `h2load` (the rest), and what it cost the process that answered.

use std::{path::Path, process::Command};

use crate::service::Process;
use crate::{Result, shell};

/// Connections of a load.
pub(crate) const CONNECTIONS: u32 = 64;

/// Something that answers requests.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) process: Process,
    /// Whole lines.
    pub(crate) headers: Vec<String>,
    pub(crate) note: &'static str,
}

/// What a load generator says of one run. Times in microseconds.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) requests: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Answers that were no success, and requests that had none.
    pub(crate) failed: f64,
    /// Of the process that answered, per request.
    pub(crate) cpu: f64,
}

impl Target {
    /// A closed loop over `connections`; `script` is one in Lua that makes the requests.
    pub(crate) fn wrk(&self, connections: u32, seconds: u64, script: Option<&str>) -> Result<Run> {
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{seconds}s")]);
        for header in &self.headers {
            command.args(["-H", header]);
        }
        command.args(script.into_iter().flat_map(|file| ["-s", file])).arg(&self.url);
        self.costed(|| wrk_run(&shell::output(&mut command)?))
    }

    /// The same with `h2load`, which speaks HTTP/2 and TLS as well.
    pub(crate) fn h2load(&self, arguments: &[String]) -> Result<Run> {
        let mut command = Command::new("h2load");
        command.arg("-t1").args(arguments);
        for header in &self.headers {
            command.args(["-H", header]);
        }
        self.costed(|| h2load_run(&shell::output(command.arg(&self.url))?))
    }

    /// So many requests a second over [`CONNECTIONS`], each of which has one under way at most: more than one can answer is
    /// not asked for. `log` is a file that may be written over.
    pub(crate) fn paced(&self, rate: f64, seconds: u64, log: &Path) -> Result<Run> {
        // It is appended to.
        let _ = std::fs::remove_file(log);
        let each = format!("--rps={}", rate / f64::from(CONNECTIONS));
        let (connections, time) = (format!("-c{CONNECTIONS}"), format!("-D{seconds}"));
        let mut run =
            self.h2load(&["--h1".to_owned(), connections, each, time, format!("--log-file={}", log.display())])?;
        let text = std::fs::read_to_string(log).map_err(|error| format!("cannot read `{}`: {error}", log.display()))?;
        let mut times: Vec<f64> = text.lines().filter_map(logged_time).collect();
        (run.p50, run.p99) = (quantile(&mut times, 0.50), quantile(&mut times, 0.99));
        Ok(run)
    }

    fn costed(&self, run: impl FnOnce() -> Result<Run>) -> Result<Run> {
        let before = self.process.cpu_seconds();
        let mut run = run().map_err(|sentence| format!("{}: {sentence}", self.name))?;
        run.cpu = (self.process.cpu_seconds() - before) * 1e6 / run.requests.max(1.0);
        Ok(run)
    }
}

/// Microseconds of `wrk`'s `1.23ms`.
fn microseconds(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &text[unit..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(text[..unit].parse::<f64>().ok()? * factor)
}

fn wrk_run(output: &str) -> Result<Run> {
    let mut run = Run::default();
    for line in output.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["50%", time] => run.p50 = microseconds(time).unwrap_or(f64::NAN),
            ["99%", time] => run.p99 = microseconds(time).unwrap_or(f64::NAN),
            [count, "requests", "in", ..] => run.requests = count.parse().unwrap_or(0.0),
            ["Requests/sec:", rate] => run.rate = rate.parse().unwrap_or(0.0),
            ["Non-2xx", .., count] => run.failed += count.parse().unwrap_or(0.0),
            ["Socket", "errors:", rest @ ..] => {
                let counts = rest.iter().filter_map(|word| word.trim_end_matches(',').parse::<f64>().ok());
                run.failed += counts.sum::<f64>();
            }
            _ => {}
        }
    }
    if run.requests > 0.0 { Ok(run) } else { Err(format!("wrk had no answers:\n{output}")) }
}

/// Of a line of `h2load`'s log: when it was sent, the status, and after how many microseconds the answer was whole.
fn logged_time(line: &str) -> Option<f64> {
    line.split('\t').nth(2)?.parse().ok()
}

fn h2load_run(output: &str) -> Result<Run> {
    let mut run = Run::default();
    for line in output.lines() {
        let before = |word: &str| -> f64 {
            let list = line.split_once(": ").map_or(line, |(_, list)| list);
            let part = list.split(", ").find_map(|part| part.strip_suffix(word));
            part.and_then(|number| number.trim().parse().ok()).unwrap_or(0.0)
        };
        if line.starts_with("requests: ") {
            run.requests = before(" done");
            run.failed = run.requests - before(" succeeded");
        } else if line.starts_with("finished in") {
            run.rate = before(" req/s");
        }
    }
    if run.requests > 0.0 { Ok(run) } else { Err(format!("h2load had no answers:\n{output}")) }
}

/// The middle one; of an even number the higher of the two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// NaN of none.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// The value below which `share` of all lie.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let run = wrk_run(
            "  Latency Distribution\n     50%    1.20ms\n     99%  900.00us\n  4000 requests in 1.00s, 2MB read\n  \
             Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 7\nRequests/sec:   3990.5\n",
        )
        .unwrap();
        assert_eq!((run.requests, run.rate, run.p50, run.p99), (4000.0, 3990.5, 1200.0, 900.0));
        assert_eq!(run.failed, 11.0);
        assert!(wrk_run("unable to connect").is_err());
    }

    #[test]
    fn what_h2load_prints_is_read() {
        let run = h2load_run(
            "finished in 1.00s, 5000.50 req/s, 1.2MB/s\nrequests: 5010 total, 5010 started, 5001 done, 4999 succeeded, \
             2 failed, 2 errored, 0 timeout\n",
        )
        .unwrap();
        assert_eq!((run.requests, run.rate, run.failed), (5001.0, 5000.5, 2.0));
    }

    #[test]
    fn the_time_of_an_answer_is_read_from_the_log_of_h2load() {
        assert_eq!(logged_time("1795774990123456\t200\t1840"), Some(1840.0));
        assert_eq!(logged_time("nonsense"), None);
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(mean([3.0, 1.0, 2.0, 4.0]), 2.5);
        assert_eq!(quantile(&mut [4.0, 1.0, 2.0, 3.0], 0.99), 4.0);
    }
}
