//! Allocations and instructions per request, counted by valgrind: they are the same on every machine and in every run.
//!
//! A run with twice as many requests minus one with as many leaves out starting, stopping and everything made once. Only the
//! data-plane thread counts: others look at the clock, and do more in a run that takes longer.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::gateway::Plan;
use super::report::{Section, figure};
use super::{Bench, Result};

const ALLOCATIONS: f64 = 60.0;
/// Functions shown, the dearest first.
const SHOWN: usize = 12;

/// What a request may call to get memory: Rust's own door where it was not inlined, mimalloc behind it, and the C
/// library's for the libraries in C.
const ALLOCATORS: &[&str] = &[
    "__rustc::__rust_alloc",
    "__rustc::__rust_realloc",
    "mi_malloc",
    "mi_zalloc",
    "mi_calloc",
    "mi_realloc",
    "malloc",
    "calloc",
    "realloc",
];
const RELEASES: &[&str] = &["__rustc::__rust_dealloc", "mi_free", "free"];

/// What one run did.
#[derive(Default)]
struct Profile {
    instructions: u64,
    /// Calls into the allocator from outside of it, by caller.
    allocations: HashMap<String, u64>,
    releases: HashMap<String, u64>,
    /// Instructions of the function itself.
    own: HashMap<String, u64>,
}

impl Profile {
    /// Instructions of what only a data-plane thread does.
    fn of_data_plane(&self) -> u64 {
        self.own.iter().filter(|(name, _)| name.contains("ogel_server::edge::")).map(|(_, count)| count).sum()
    }
}

/// Two runs, of which the second made as many requests more as `requests` says.
struct Difference {
    once: Profile,
    twice: Profile,
    requests: u32,
}

impl Difference {
    fn each(&self, of: impl Fn(&Profile) -> u64) -> f64 {
        (of(&self.twice) as f64 - of(&self.once) as f64) / f64::from(self.requests)
    }

    fn sum(&self, of: impl Fn(&Profile) -> &HashMap<String, u64>) -> f64 {
        self.each(|profile| of(profile).values().sum())
    }

    /// The largest per request, by function.
    fn table(&self, title: String, what: &str, of: impl Fn(&Profile) -> &HashMap<String, u64>) -> Section {
        let mut section = Section::new(title, &["function", what, "share"]);
        let whole = self.sum(&of);
        let count = |name: &String| self.each(|profile| of(profile).get(name).copied().unwrap_or(0));
        let mut rows: Vec<(f64, &String)> = of(&self.twice).keys().map(|name| (count(name), name)).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (count, name) in rows.into_iter().take(SHOWN) {
            section.row([format!("`{}`", shortened(name)), figure(count), format!("{:.1} %", count * 100.0 / whole)]);
        }
        section
    }
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let plan = counted(bench.plan("allocations"));
    // The account is made without valgrind, in the database that the counted runs open.
    let (account, routes, notes) = {
        let gateway = plan.start("ogeld", &[])?;
        let account = gateway.sign_up()?;
        let (routes, notes) = bench.routes(&gateway, &account)?;
        (account, routes, notes)
    };
    let mut section = Section::new(
        "Allocations and instructions",
        &["route", "allocations/request", "releases/request", "instructions/request"],
    );
    let mut details = Vec::new();
    for route in routes {
        let found = difference(bench, &plan, &route.path(&account.project), &route.headers(&account))?;
        let allocations = found.sum(|profile| &profile.allocations);
        let (releases, instructions) =
            (found.sum(|profile| &profile.releases), found.each(|profile| profile.instructions));
        section.row([route.title(), figure(allocations), figure(releases), figure(instructions)]);
        if route.proxied {
            section.at_most(&format!("{}: allocations per request", route.name), allocations, ALLOCATIONS, "");
        }
        let title = format!("Who allocates: {}", route.title());
        details.push(found.table(title, "allocations/request", |profile| &profile.allocations));
        let title = format!("Where the instructions go: {}", route.title());
        details.push(found.table(title, "instructions/request", |profile| &profile.own));
    }
    notes.into_iter().for_each(|note| section.note(note));
    section.note("valgrind knows no instructions for SHA-256, so that hashing a key counts for more than it costs");
    section.note("where the processor copies by itself, valgrind counts an instruction for every byte");
    section.note("one data-plane thread, one connection; what other threads and the kernel do is not counted");
    details.insert(0, section);
    Ok(details)
}

/// One thread, so that every run does the same in the same order.
fn counted(mut plan: Plan) -> Plan {
    plan.set("server.threads", "1");
    plan.set("server.drain_seconds", "1");
    plan
}

/// Instructions per request of a gateway set up like this.
pub(super) fn instructions(bench: &Bench<'_>, plan: Plan, path: &str, headers: &[String]) -> Result<f64> {
    Ok(difference(bench, &counted(plan), path, headers)?.each(|profile| profile.instructions))
}

fn difference(bench: &Bench<'_>, plan: &Plan, path: &str, headers: &[String]) -> Result<Difference> {
    let requests: u32 = bench.options.size(2000, 200);
    let run = |requests| profiles(bench, plan, path, headers, requests);
    let (mut once, twice) = (run(requests)?, run(requests * 2)?);
    let pairs = twice.into_iter().filter_map(|(name, twice)| Some((once.remove(&name)?, twice)));
    let found = pairs.filter(|(_, twice)| twice.of_data_plane() > 0).max_by_key(|(_, twice)| twice.of_data_plane());
    let (once, twice) = found.ok_or("valgrind saw no data-plane thread")?;
    Ok(Difference { once, twice, requests })
}

/// A request after the other on one connection, under valgrind: what each thread did, by the number of the thread.
fn profiles(
    bench: &Bench<'_>,
    plan: &Plan,
    path: &str,
    headers: &[String],
    requests: u32,
) -> Result<BTreeMap<String, Profile>> {
    let folder = bench.folder.0.join("callgrind");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let valgrind = crate::service::program("valgrind").ok_or("valgrind is not installed")?;
    let output = format!("--callgrind-out-file={}/of", folder.display());
    let under = [&*valgrind.to_string_lossy(), "--tool=callgrind", "--separate-threads=yes", &output];
    let gateway = plan.start("ogeld", &under)?;
    let mut connection = gateway.connect()?;
    for _ in 0..requests {
        let (status, _) = connection.call("GET", path, headers, &[])?;
        if !(200..300).contains(&status) {
            return Err(format!("GET {path} was answered with {status}"));
        }
    }
    drop(connection);
    // It writes its files when it ends.
    drop(gateway);
    let mut profiles = BTreeMap::new();
    for file in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
        let file = file.map_err(|error| error.to_string())?;
        profiles.insert(file.file_name().to_string_lossy().into_owned(), read(&file.path())?);
    }
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(profiles)
}

fn read(file: &Path) -> Result<Profile> {
    let wrong = |error: std::io::Error| format!("what valgrind counted cannot be read: {error}");
    let mut profile = Profile::default();
    let mut names: HashMap<String, String> = HashMap::new();
    // A name stands in full where it comes first, and as its number from then on.
    let mut name_of = |text: &str| -> String {
        match text.split_once(' ') {
            Some((number, name)) => names.entry(number.to_owned()).or_insert_with(|| name.to_owned()).clone(),
            None => names.get(text).cloned().unwrap_or_else(|| text.to_owned()),
        }
    };
    let (mut function, mut callee, mut inclusive) = (String::new(), String::new(), false);
    for line in BufReader::new(std::fs::File::open(file).map_err(wrong)?).split(b'\n') {
        let line = line.map_err(wrong)?;
        let line = String::from_utf8_lossy(&line);
        if let Some(text) = line.strip_prefix("fn=") {
            function = name_of(text);
        } else if let Some(text) = line.strip_prefix("cfn=") {
            callee = name_of(text);
        } else if let Some(text) = line.strip_prefix("calls=") {
            let count: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            if !is_allocator(&function) {
                let called = |names: &[&str]| names.iter().any(|known| is(&callee, known));
                for (names, counts) in [(ALLOCATORS, &mut profile.allocations), (RELEASES, &mut profile.releases)] {
                    if called(names) {
                        *counts.entry(function.clone()).or_default() += count;
                    }
                }
            }
            // The next line is what the callee cost, which stands with the callee as well.
            inclusive = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '*')) {
            let cost: u64 = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            if !std::mem::take(&mut inclusive) {
                *profile.own.entry(function.clone()).or_default() += cost;
                profile.instructions += cost;
            }
        }
    }
    Ok(profile)
}

fn is_allocator(function: &str) -> bool {
    ALLOCATORS.iter().chain(RELEASES).any(|known| is(function, known)) || function.starts_with("_mi_")
}

/// Whether a function is this one or a variant of it, such as `mi_malloc_aligned`.
fn is(function: &str, known: &str) -> bool {
    let variant = |rest: &str| rest.is_empty() || known.contains('_') && rest.starts_with('_');
    function.strip_prefix(known).is_some_and(variant)
}

/// Without the hashes and the middle of types as long as a page.
fn shortened(name: &str) -> String {
    let name = name.split("::h").next().filter(|part| name.len() - part.len() == 19).unwrap_or(name);
    let name = name.replace('|', "\\|");
    match (name.char_indices().nth(60), name.char_indices().rev().nth(39)) {
        (Some((from, _)), Some((to, _))) if from < to => format!("{}…{}", &name[..from], &name[to..]),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_the_same_and_other_functions_are_not() {
        assert!(is("mi_malloc_aligned", "mi_malloc") && is("__rustc::__rust_alloc_zeroed", "__rustc::__rust_alloc"));
        assert!(!is("malloc_consolidate", "malloc") && !is("mi_mallocate", "mi_malloc"));
    }

    #[test]
    fn calls_into_the_allocator_are_counted_by_caller_and_inclusive_costs_are_not() {
        let folder = std::env::temp_dir().join(format!("ogel-callgrind-{}", std::process::id()));
        let text = "fn=(1) work\n10 5\ncfn=(2) mi_malloc\ncalls=3 0\n+1 300\n+2 7\nfn=(2)\n1 100\ncfn=(3) _mi_page\n\
                    calls=1 0\n1 50\nfn=(3)\n* 50\n";
        std::fs::write(&folder, text).unwrap();
        let profile = read(&folder);
        std::fs::remove_file(&folder).unwrap();
        let profile = profile.unwrap();
        assert_eq!(profile.instructions, 162);
        assert_eq!(profile.own["work"], 12);
        assert_eq!(profile.allocations, HashMap::from([("work".to_owned(), 3)]));
        assert!(profile.releases.is_empty());
    }
}
