//! The project's chores, in Rust so that a clone needs nothing but Rust to run them: the whole check (`ci`), generated
//! files, a PostgreSQL and a Redis to test against, and tidiness. It knows the product only by its command line.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a terminal is this program's only output")]

mod bench;
mod chaos;
mod ci;
mod cluster;
mod fuzz;
mod generate;
mod http;
mod models;
mod postgres;
mod preflight;
mod redis;
mod release;
mod service;
mod shell;
mod supply_chain;
mod tidy;
mod tools;
mod valkey;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "\
The project's chores.

Usage: cargo xtask <CHORE>

  ci                   the whole check, as it runs before every merge (short form: `cargo ci`)
  fuzz [SECONDS]       run every fuzz target for so long (default 60)
  models               search the models of what threads share without a lock
  bench [OPTION…]      figures beside nginx, HAProxy and Caddy, into BENCHMARKS.md (`bench --help`)
  cluster              three ogeld on one PostgreSQL, one Redis and one Ghost behind HAProxy, until Ctrl-C
  chaos [OPTION…]      kill, stall and starve them, and count what got lost (`chaos --help`)
  generate [--check]   write the files that come from the code, or only say whether they are fresh
  postgres             run a private PostgreSQL for tests until Ctrl-C
  redis                run a private Redis for tests until Ctrl-C
  release              build ogeld as it is shipped, and say where it is
  tidy                 the rules that no compiler knows
";

/// A chore ends well or with one sentence for the person at the terminal.
type Result<T = ()> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["bench", "--help" | "-h"] => {
            print!("{}", bench::USAGE);
            return ExitCode::SUCCESS;
        }
        ["bench", options @ ..] => Workspace::load().and_then(|workspace| bench::run(&workspace, options)),
        // The benchmark's own second process, so that its memory is not counted as ours.
        ["bench-hold", arguments @ ..] => bench::hold(arguments),
        ["cluster"] => Workspace::load().and_then(|workspace| cluster::foreground(&workspace)),
        ["chaos", "--help" | "-h"] => {
            print!("{}", chaos::USAGE);
            return ExitCode::SUCCESS;
        }
        ["chaos", options @ ..] => Workspace::load().and_then(|workspace| chaos::run(&workspace, options)),
        ["ci"] => Workspace::load().and_then(ci::run),
        ["models"] => Workspace::load().and_then(|workspace| models::run(&workspace)),
        ["fuzz"] => Workspace::load().and_then(|workspace| fuzz::run(&workspace, 60)),
        ["fuzz", seconds] => match seconds.parse() {
            Ok(seconds) => Workspace::load().and_then(|workspace| fuzz::run(&workspace, seconds)),
            Err(_) => Err(format!("`{seconds}` is no number of seconds")),
        },
        ["generate"] => Workspace::load().and_then(|workspace| generate::write(&workspace)),
        ["generate", "--check"] => Workspace::load().and_then(|workspace| generate::check(&workspace, None)),
        ["postgres"] => Workspace::load().and_then(|workspace| postgres::foreground(&workspace)),
        ["release"] => Workspace::load().and_then(|workspace| release::run(&workspace)),
        ["redis"] => Workspace::load().and_then(|workspace| redis::foreground(&workspace)),
        ["tidy"] => Workspace::load().and_then(|workspace| tidy::run(&workspace)),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [] => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
        _ => {
            eprint!("there is no chore `{}`\n\n{USAGE}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}
