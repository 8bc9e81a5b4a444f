//! What it costs to know who calls, by kind of credential, remembered and not; and how often Ghost is asked for a token.
//!
//! One connection, one request after the other: what counts is the gateway's own processor time. Tokens of Studio's are made
//! by the libraries that Studio uses, with the script that the tests use.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::load::median;
use super::report::{Section, figure};
use super::{Bench, Result};
use crate::http::{Connection, bearer, text};

const SECRET: &str = "a-secret-of-studios-that-protects-nothing";
/// What is called: an answer of our own, to anybody.
const PATH: &str = "/api/v2/version";
/// People of Studio's who call.
const CALLERS: usize = 50;

/// A kind of credential, and the header line that carries a token of it.
struct Kind {
    name: &'static str,
    family: &'static str,
    /// Bytes of claims besides the usual, so that the token comes in pieces.
    more: usize,
    by_cookie: bool,
}

const KINDS: &[Kind] = &[
    Kind { name: "next-auth v4, cookie", family: "v4", more: 0, by_cookie: true },
    Kind { name: "Auth.js v5, cookie", family: "v5", more: 0, by_cookie: true },
    Kind { name: "Auth.js v5, cookie in three pieces", family: "v5", more: 6000, by_cookie: true },
    Kind { name: "Auth.js v5, Bearer", family: "v5", more: 0, by_cookie: false },
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let (hot, cold) = bench.options.size((20_000, 3_000), (500, 100));
    let mut plan = bench.plan("identity");
    plan.text("studio_sessions.strategy", "jwt");
    plan.set("studio_sessions.secrets", &format!("[\"{SECRET}\"]"));
    plan.text("studio_sessions.unknown_users", "create");
    plan.set("studio_sessions.trust_emails", "true");
    let gateway = plan.start("identity", &[])?;
    let account = gateway.sign_up()?;
    let folder = bench.folder.0.join("studio-packages");
    install(&folder)?;

    let mut section = Section::new(
        format!("Knowing who calls: `GET {PATH}`, CPU µs/request"),
        &["credential", "remembered", "more than none", "first seen", "more than none"],
    );
    let of = |lines: &[String], count: usize, rounds: usize| -> Result<f64> {
        let mut connection = gateway.connect()?;
        let mut rounds_cpu = Vec::new();
        for _ in 0..rounds {
            rounds_cpu.push(cpu_of(&gateway, &mut connection, lines, count)?);
        }
        Ok(median(rounds_cpu))
    };
    let rounds = bench.options.rounds;
    let nobody = of(&[], hot, rounds)?;
    section.row(["none".to_owned(), figure(nobody), String::new(), String::new(), String::new()]);
    let key = of(std::slice::from_ref(&account.key), hot, rounds)?;
    section.row(["API key".to_owned(), figure(key), figure(key - nobody), String::new(), String::new()]);
    for kind in KINDS {
        let lines = minted(&folder, kind, cold + 1)?;
        // The first of each person makes their account, which is no part of it.
        let mut connection = gateway.connect()?;
        for line in &lines[..CALLERS.min(lines.len())] {
            connection.call("GET", PATH, std::slice::from_ref(line), &[])?;
        }
        let first_seen = of(&lines[CALLERS.min(cold)..], lines.len() - CALLERS.min(cold), 1)?;
        let remembered = of(&lines[..1], hot, rounds)?;
        section.row([
            kind.name.to_owned(),
            figure(remembered),
            figure(remembered - nobody),
            figure(first_seen),
            figure(first_seen - nobody),
        ]);
    }
    section.note(
        "first seen: each token once, of 50 people in turn, so each is opened and its person looked up in SQLite",
    );
    let mints = mints(bench, &gateway, &folder)?;
    Ok(vec![section, mints])
}

/// CPU µs per request, each line in turn.
fn cpu_of(gateway: &Gateway, connection: &mut Connection, lines: &[String], count: usize) -> Result<f64> {
    let process = &gateway.service.process;
    let before = process.cpu_seconds();
    for n in 0..count {
        let line = if lines.is_empty() { &[] } else { std::slice::from_ref(&lines[n % lines.len()]) };
        let (status, _) = connection.call("GET", PATH, line, &[])?;
        if status != 200 {
            return Err(format!("`{PATH}` answered {status}"));
        }
    }
    Ok((process.cpu_seconds() - before) * 1e6 / count as f64)
}

/// 10,000 requests of 50 callers that Ghost answers, and the tokens it was asked for meanwhile.
fn mints(bench: &Bench<'_>, gateway: &Gateway, folder: &Path) -> Result<Section> {
    let requests = bench.options.size(10_000, 500);
    let kind = Kind { name: "", family: "v5", more: 0, by_cookie: false };
    let mut connection = gateway.connect()?;
    let mut callers = Vec::new();
    for line in minted(folder, &kind, CALLERS)? {
        let headers = [line];
        let project = connection.json("POST", "/api/v2/projects", &headers, Some(&json!({ "name": "bench" })))?;
        let id = text(&project, "/id")?.to_owned();
        callers.push((headers, format!("/api/v2/sites?projectId={id}"), id));
    }
    let before = gateway.metric("ogel_ghost_tokens_minted_total")?;
    for (headers, _, id) in &callers {
        connection.json("POST", "/api/v2/sites", headers, Some(&json!({ "projectId": id, "name": "bench" })))?;
    }
    for n in 0..requests - CALLERS {
        let (headers, path, _) = &callers[n % CALLERS];
        let (status, _) = connection.call("GET", path, headers, &[])?;
        if status != 200 {
            return Err(format!("`{path}` answered {status}"));
        }
    }
    let minted = gateway.metric("ogel_ghost_tokens_minted_total")? - before;
    let mut section = Section::new(
        format!("Tokens that Ghost was asked for: {requests} requests of {CALLERS} callers"),
        &["requests", "tokens"],
    );
    section.row([requests.to_string(), figure(minted)]);
    // One each, and one more where the change that made the account was heard of only afterwards.
    section.at_most("tokens minted", minted, 2.0 * CALLERS as f64, "");
    Ok(section)
}

/// Puts the libraries there.
fn install(folder: &Path) -> Result {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ogel-server/tests/studio");
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", ".npmrc", "mint.mjs"] {
        std::fs::copy(source.join(file), folder.join(file)).map_err(|error| format!("`{file}`: {error}"))?;
    }
    let mut npm = Command::new("npm");
    crate::shell::output(npm.args(["ci", "--ignore-scripts"]).current_dir(folder)).map(drop)
}

/// Header lines with `count` different tokens, of [`CALLERS`] people in turn.
fn minted(folder: &Path, kind: &Kind, count: usize) -> Result<Vec<String>> {
    let wish = |n: usize| {
        let person = n % CALLERS;
        let mut claims =
            json!({ "sub": format!("cuid-{person}"), "email": format!("person-{person}@example.com"), "name": "P" });
        if kind.more > 0 {
            claims["permissions"] = json!("p".repeat(kind.more));
        }
        json!({ "family": kind.family, "secret": SECRET, "secure": false, "claims": claims })
    };
    let wishes = Value::Array((0..count).map(wish).collect());
    let mut node = Command::new("node");
    node.arg("mint.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().map_err(|error| format!("node: {error}"))?;
    let mut input = node.stdin.take().ok_or("node takes no input")?;
    input.write_all(wishes.to_string().as_bytes()).map_err(|error| error.to_string())?;
    drop(input);
    let output = node.wait_with_output().map_err(|error| error.to_string())?;
    let made: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|error| format!("mint.mjs: {error}"))?;
    let line = |made: &Value| match kind.by_cookie {
        true => text(made, "/cookie").map(|cookie| format!("Cookie: {cookie}")),
        false => text(made, "/token").map(bearer),
    };
    made.iter().map(line).collect()
}
