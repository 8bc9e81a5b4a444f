//! The clock of one machine steps by an hour, forwards and back, under a running replica. What it counts in intervals
//! (deadlines, windows, caches) uses a clock that never steps; what it compares with others' clocks is checked here.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::Chaos;
use super::clients::{Creates, repository};
use super::report::Outcome;
use crate::Result;
use crate::cluster::{Cluster, eventually};
use crate::http::Connection;
use crate::preflight::Need;

pub(super) const NEEDS: &[Need] = &[Need {
    name: "libfaketime",
    reason: "a process whose clock can be stepped",
    packages: &["libfaketime"],
    present: || library().is_some(),
}];

const LIMIT: usize = 20;
const WINDOW_SECONDS: u64 = 10;

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let candidates = folders.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/local/lib")]);
    candidates.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|file| file.is_file())
}

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let library = library().ok_or("libfaketime is not installed")?;
    let scratch = crate::bench::Scratch::make("ogel-clock-")?;
    let offset = scratch.0.join("offset");
    step(&offset, "+0")?;
    let under = [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", offset.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let cluster = Cluster::start_under(
        chaos.workspace,
        &chaos.ogeld,
        1,
        &[("limits.api_key_free", LIMIT.to_string()), ("limits.window_seconds", WINDOW_SECONDS.to_string())],
        &under,
    )?;
    let page = repository(&cluster.folder.0, "page", &[("index.html", "<h1>up</h1>")])?;
    let mut outcome = Outcome::new("clock steps by one hour, forwards and back", "limits, tokens, webhooks");
    let (mut locked_out, mut wrong_waits, mut refused, mut stuck, mut tried) = (0, 0, 0, 0, 0);
    for hours in ["+1h", "+0", "-1h", "+0"] {
        let account = cluster.sign_up(&format!("clock-{tried}"))?;
        tried += 1;
        let call = |path: &str| -> Result<(u16, String)> {
            let mut connection = Connection::open(cluster.address)?;
            let (status, body) = connection.call("GET", path, std::slice::from_ref(&account.key), &[])?;
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        // The window is full when the clock steps.
        let mut status = 200;
        for _ in 0..LIMIT * 2 {
            status = call("/api/v2/users/me")?.0;
        }
        if status != 429 {
            return Err(format!("the limit of {LIMIT} was not met before the step: {status}"));
        }
        step(&offset, hours)?;
        let waits = eventually(Duration::from_secs(WINDOW_SECONDS + 5), "the window to open again", || {
            let (status, body) = call("/api/v2/users/me")?;
            match status {
                200 => Ok(Some(0)),
                429 => Err(body),
                _ => Ok(Some(1)),
            }
        });
        locked_out += usize::from(waits.is_err());
        wrong_waits += waits.unwrap_or(0);
        // The key, and the token that was made at Ghost before the step.
        sleep(Duration::from_secs(WINDOW_SECONDS));
        let sites = format!("/api/v2/sites?projectId={}", account.project);
        refused += usize::from(call(&sites)?.0 != 200);
        // A webhook signed by a clock an hour away is refused; the deployment ends all the same.
        let creates = Creates::default();
        creates.create(&[cluster.address], &account, &page, "clock", &json!({}));
        let ended = eventually(Duration::from_secs(60), "a deployment to end", || {
            sleep(Duration::from_secs(1));
            let id = creates.ids().first().cloned().ok_or("no deployment was made")?;
            let (status, body) = call(&format!("/api/v2/deployments/{id}"))?;
            Ok((status == 200 && body.contains("\"status\":\"success\"")).then_some(()))
        });
        if let Err(sentence) = ended {
            println!("  {hours}: {sentence}");
            stuck += 1;
        }
    }
    outcome.note(format!("{tried} steps: +1 h and back, -1 h and back"));
    outcome.none("callers locked out for longer than a window", locked_out);
    outcome.none("answers other than 200 or 429 after a step", wrong_waits);
    outcome.none("keys or tokens refused", refused);
    outcome.none("deployments that did not end", stuck);
    Ok(outcome)
}

/// Written whole, so that the library never reads half of it.
fn step(file: &Path, offset: &str) -> Result {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, offset)
        .and_then(|()| std::fs::rename(&fresh, file))
        .map_err(|error| format!("the clock cannot be stepped: {error}"))
}
