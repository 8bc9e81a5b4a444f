//! Sessions of Studio's: tokens, made by the libraries that Studio uses with the script that the tests use, and rows of a database.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::gateway::{Gateway, Plan};
use super::super::{Bench, Result};
use super::{CALLERS, Kind, PATH};
use crate::http::{bearer, text};

const SECRET: &str = "a-secret-of-studios-that-protects-nothing";

/// What a token looks like, and how it travels.
pub(super) struct Shape {
    name: &'static str,
    family: &'static str,
    /// Bytes of claims besides the usual, so that the token comes in pieces.
    more: usize,
    by_cookie: bool,
}

pub(super) const BEARER: Shape = Shape { name: "Auth.js v5, Bearer", family: "v5", more: 0, by_cookie: false };

const SHAPES: &[Shape] = &[
    Shape { name: "next-auth v4, cookie", family: "v4", more: 0, by_cookie: true },
    Shape { name: "Auth.js v5, cookie", family: "v5", more: 0, by_cookie: true },
    Shape { name: "Auth.js v5, cookie in three pieces", family: "v5", more: 6000, by_cookie: true },
    BEARER,
];

/// A gateway that takes Studio's tokens.
pub(super) fn tokens_plan(bench: &Bench<'_>) -> Plan {
    let mut plan = bench.plan("identity");
    plan.text("studio_sessions.strategy", "jwt");
    plan.set("studio_sessions.secrets", &format!("[\"{SECRET}\"]"));
    plan.text("studio_sessions.unknown_users", "create");
    plan.set("studio_sessions.trust_emails", "true");
    plan
}

pub(super) fn token_kinds(gateway: &Gateway, folder: &Path, count: usize) -> Result<Vec<Kind>> {
    let kind = |shape: &Shape| {
        let lines = minted(folder, shape, CALLERS + count)?;
        acquainted(gateway, shape.name, lines)
    };
    SHAPES.iter().map(kind).collect()
}

/// Cookies that are as long as a session in one piece and in three, and that no key of ours opens.
pub(super) fn unreadable_kind() -> Kind {
    const HEADER: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0";
    let nonce = "A".repeat(22);
    let tag = "A".repeat(43);
    let token = |length: usize| format!("{HEADER}..{nonce}.{}.{tag}", "A".repeat(length));
    let whole = format!("Cookie: authjs.session-token={}", token(400));
    let pieces: Vec<String> = token(9_000)
        .as_bytes()
        .chunks(3_900)
        .enumerate()
        .map(|(n, piece)| format!("authjs.session-token.{n}={}", String::from_utf8_lossy(piece)))
        .collect();
    Kind { name: "a session that cannot be read", lines: vec![whole, format!("Cookie: {}", pieces.join("; "))] }
}

/// The first credential of each person makes their account, which is no part of what is measured.
fn acquainted(gateway: &Gateway, name: &'static str, mut lines: Vec<String>) -> Result<Kind> {
    let mut connection = gateway.connect()?;
    for line in lines.drain(..CALLERS) {
        let (status, _) = connection.call("GET", PATH, &[line], &[])?;
        if status != 200 {
            return Err(format!("{name}: `{PATH}` answered {status}"));
        }
    }
    Ok(Kind { name, lines })
}

/// A gateway beside a database of Studio's with so many sessions, as drizzle keeps them.
pub(super) fn rows_gateway(bench: &Bench<'_>, count: usize) -> Result<Gateway> {
    let path = bench.folder.0.join("studio.db");
    let mut sql = String::from(
        "BEGIN;\n\
         CREATE TABLE \"user\" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, \"emailVerified\" INTEGER, image TEXT);\n\
         CREATE TABLE session (\"sessionToken\" TEXT PRIMARY KEY, \"userId\" TEXT NOT NULL, expires INTEGER NOT NULL);\n",
    );
    for person in 0..CALLERS {
        sql += &format!(
            "INSERT INTO \"user\" VALUES ('cuid-{person}', 'P', 'row-{person}@example.com', 1700000000000, NULL);\n"
        );
    }
    for n in 0..CALLERS + count {
        let (token, person) = (row_token(n), n % CALLERS);
        // The year 2100.
        sql += &format!("INSERT INTO session VALUES ('{token}', 'cuid-{person}', 4102444800000);\n");
    }
    fill(&path, &(sql + "COMMIT;\n"))?;
    let mut plan = bench.plan("identity-rows");
    plan.text("studio_sessions.strategy", "database");
    plan.text("studio_sessions.database_url", &format!("sqlite:{}", path.display()));
    plan.text("studio_sessions.unknown_users", "create");
    plan.start("identity-rows", &[])
}

fn fill(path: &Path, sql: &str) -> Result {
    let mut sqlite = Command::new("sqlite3");
    let mut sqlite = sqlite.arg(path).stdin(Stdio::piped()).spawn().map_err(|error| format!("sqlite3: {error}"))?;
    let mut input = sqlite.stdin.take().ok_or("sqlite3 takes no input")?;
    input.write_all(sql.as_bytes()).map_err(|error| error.to_string())?;
    drop(input);
    let status = sqlite.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err("sqlite3 could not make Studio's database".to_owned()) }
}

/// As long as the library's own.
fn row_token(n: usize) -> String {
    format!("5f0c1a00-0000-4000-8000-{n:012}")
}

pub(super) fn row_kind(gateway: &Gateway, count: usize) -> Result<Kind> {
    let lines = (0..CALLERS + count).map(|n| format!("Cookie: authjs.session-token={}", row_token(n))).collect();
    acquainted(gateway, "Studio's database session, cookie", lines)
}

/// Puts the libraries there.
pub(super) fn install(folder: &Path) -> Result {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ogel-server/tests/studio");
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", ".npmrc", "mint.mjs"] {
        std::fs::copy(source.join(file), folder.join(file)).map_err(|error| format!("`{file}`: {error}"))?;
    }
    let mut npm = Command::new("npm");
    crate::shell::output(npm.args(["ci", "--ignore-scripts"]).current_dir(folder)).map(drop)
}

/// Header lines with `count` different tokens, of [`CALLERS`] people in turn.
pub(super) fn minted(folder: &Path, shape: &Shape, count: usize) -> Result<Vec<String>> {
    let wish = |n: usize| {
        let person = n % CALLERS;
        let mut claims =
            json!({ "sub": format!("cuid-{person}"), "email": format!("person-{person}@example.com"), "name": "P" });
        if shape.more > 0 {
            claims["permissions"] = json!("p".repeat(shape.more));
        }
        json!({ "family": shape.family, "secret": SECRET, "secure": false, "claims": claims })
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
    let line = |made: &Value| match shape.by_cookie {
        true => text(made, "/cookie").map(|cookie| format!("Cookie: {cookie}")),
        false => text(made, "/token").map(bearer),
    };
    made.iter().map(line).collect()
}
