//! Whether a request costs more when there is more: callers and projects, taken in turn.

use super::gateway::Account;
use super::load::{CONNECTIONS, Target, median};
use super::report::{Section, figure};
use super::{Bench, Result, main_route};

/// Against the smallest count.
const GROWTH: f64 = 1.05;

/// Makes every request once, so that what is counted per request is sending it.
const SCRIPT: &str = "\
local requests, at = {}, 0
function init()
  for line in io.lines(FILE) do
    local path, header = line:match('^(%S+) (.*)$')
    local name, value = header:match('^(%S+): (.*)$')
    requests[#requests + 1] = wrk.format('GET', path, { [name] = value })
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
    let (routes, mut notes) = bench.routes(&gateway, &first)?;
    // The typed route names a project, so it is the one that could suffer; else whatever there is.
    let route =
        routes.iter().copied().find(|route| route.path("").contains('=')).map_or_else(|| main_route(&routes), Ok)?;
    let mut accounts = vec![first];
    for number in 1..counts[2] {
        accounts.push(gateway.another(&accounts[0], number)?);
    }
    let lines: Vec<String> = accounts.iter().map(|a| format!("{} {}\n", route.path(&a.project), a.key)).collect();
    let mut targets = Vec::new();
    for count in counts {
        let (list, script) = (format!("growth-{count}.txt"), format!("growth-{count}.lua"));
        let (list, script) = (bench.folder.0.join(list), bench.folder.0.join(script));
        let text = format!("local FILE = '{}'\n{SCRIPT}", list.display());
        std::fs::write(&list, lines[..count].concat())
            .and_then(|()| std::fs::write(&script, text))
            .map_err(|error| error.to_string())?;
        // Everybody once, so that what is made at first need is made.
        let mut connection = gateway.connect()?;
        for account in &accounts[..count] {
            let Account { project, key, .. } = account;
            connection.call("GET", &route.path(project), std::slice::from_ref(key), &[])?;
        }
        let mut target: Target = gateway.target(&count.to_string(), "/", &accounts[0], "");
        target.headers.clear();
        targets.push((target, script.display().to_string()));
    }
    let mut runs: Vec<Vec<(f64, f64)>> = targets.iter().map(|_| Vec::new()).collect();
    for (target, script) in &targets {
        target.wrk(CONNECTIONS, 1, Some(script))?;
    }
    for _ in 0..bench.options.rounds {
        for (figures, (target, script)) in runs.iter_mut().zip(&targets) {
            let run = target.wrk(CONNECTIONS, bench.options.seconds, Some(script))?;
            figures.push((run.cpu, run.failed));
        }
    }

    let cpu = |at: usize| median(runs[at].iter().map(|(cpu, _)| *cpu));
    let mut section = Section::new(
        format!("With more projects and keys in turn: {}", route.title()),
        &["projects and keys", "CPU µs/request", "against the fewest", "failed"],
    );
    for (at, count) in counts.iter().enumerate() {
        let failed = runs[at].iter().map(|(_, failed)| failed).sum();
        section.row([count.to_string(), figure(cpu(at)), figure(cpu(at) / cpu(0)), figure(failed)]);
        if at > 0 {
            section.at_most(&format!("{count}: CPU per request / with {}", counts[0]), cpu(at) / cpu(0), GROWTH, "");
        }
        section.at_most(&format!("{count}: failed requests"), failed, 0.0, "");
    }
    notes.drain(..).for_each(|note| section.note(note));
    Ok(vec![section])
}
