//! Whether a request costs more when there is more: callers and projects, taken in turn.

use super::gateway::{Account, Route};
use super::load::{CONNECTIONS, Run, Target, median};
use super::report::{Section, figure};
use super::{Bench, Result};

/// Against the smallest count.
const GROWTH: f64 = 1.05;

/// Makes every request once, so that what is counted per request is sending it.
const SCRIPT: &str = "\
local requests, at = {}, 0
function init()
  for line in io.lines(FILE) do
    local path, headers = nil, {}
    for part in line:gmatch('[^\\t]+') do
      local name, value = part:match('^(%S+): (.*)$')
      if path then headers[name] = value else path = part end
    end
    requests[#requests + 1] = wrk.format('GET', path, headers)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
";

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let counts = bench.options.size([10, 100, 1000], [2, 10, 50]);
    let (gateway, first) = bench.gateway("growth")?;
    let (routes, notes) = bench.routes(&gateway, &first)?;
    let mut accounts = vec![first];
    for number in 1..counts[2] {
        accounts.push(gateway.another(&accounts[0], number)?);
    }
    let mut section = Section::new(
        "With more projects and keys in turn",
        &["request", "projects and keys", "CPU µs/request", "against the fewest", "failed"],
    );
    for route in routes.into_iter().filter(|route| route.proxied) {
        let mut targets = Vec::new();
        for count in counts {
            let script = script(bench, route, &accounts[..count])?;
            // Everybody once, so that what is made at first need is made.
            let mut connection = gateway.connect()?;
            for account in &accounts[..count] {
                connection.call("GET", &route.path(&account.project), &route.headers(account), &[])?;
            }
            let mut target: Target = gateway.target(&count.to_string(), "/", &accounts[0], "");
            target.headers.clear();
            target.wrk(CONNECTIONS, 1, Some(&script))?;
            targets.push((target, script));
        }
        let mut runs: Vec<Vec<Run>> = targets.iter().map(|_| Vec::new()).collect();
        for _ in 0..bench.options.rounds {
            for (figures, (target, script)) in runs.iter_mut().zip(&targets) {
                figures.push(target.wrk(CONNECTIONS, bench.options.seconds, Some(script))?);
            }
        }
        let cpu = |at: usize| median(runs[at].iter().map(|run| run.cpu));
        for (at, count) in counts.iter().enumerate() {
            let (name, growth) = (route.name, cpu(at) / cpu(0));
            let failed = runs[at].iter().map(|run| run.failed).sum();
            section.row([name.to_owned(), count.to_string(), figure(cpu(at)), figure(growth), figure(failed)]);
            if at > 0 {
                let line = format!("{name}, {count}: CPU per request / with {}", counts[0]);
                section.at_most(&line, growth, GROWTH, "");
            }
            section.at_most(&format!("{name}, {count}: failed requests"), failed, 0.0, "");
        }
    }
    notes.into_iter().for_each(|note| section.note(note));
    section.note("typed routes name a project of each key's own; kept answers are as many as projects, 1.4 KB each");
    Ok(vec![section])
}

/// The file that makes `wrk` ask for each account in turn.
fn script(bench: &Bench<'_>, route: &Route, accounts: &[Account]) -> Result<String> {
    let name = format!("growth-{}-{}", route.name.replace(", ", "-"), accounts.len());
    let (list, script) = (bench.folder.0.join(format!("{name}.txt")), bench.folder.0.join(format!("{name}.lua")));
    let line = |account: &Account| format!("{}\t{}\n", route.path(&account.project), route.headers(account).join("\t"));
    let lines: String = accounts.iter().map(line).collect();
    let text = format!("local FILE = '{}'\n{SCRIPT}", list.display());
    std::fs::write(&list, lines).and_then(|()| std::fs::write(&script, text)).map_err(|error| error.to_string())?;
    Ok(script.display().to_string())
}
