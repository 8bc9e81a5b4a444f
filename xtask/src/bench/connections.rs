//! What it costs to be there: with nothing to do, with many idle connections, with many people watching a build.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::gateway::{Account, Gateway};
use super::peers::{self, YARDSTICK};
use super::report::{Section, figure};
use super::{Bench, Result, hold, main_route};
use crate::http::{Connection, text};
use crate::service::{Process, Service, free_address};
use crate::shell;

/// In MiB.
const IDLE: f64 = 40.0;
/// In KiB each.
const PER_CONNECTION: f64 = 8.0;
const PER_STREAM: f64 = 24.0;

/// A build that says something and then goes on until it is killed.
const BUILD: &str = "for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n; done\nsleep 3600\n";

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let count = bench.options.size(10_000, 500);
    let mut section = Section::new(
        format!("Memory, {count} connections"),
        &["what", "RSS before, MiB", "RSS after, MiB", "KiB each"],
    );
    idle_connections(bench, count, &mut section)?;
    log_streams(bench, count, &mut section)?;
    Ok(vec![section])
}

/// Resident memory once it has stopped moving.
fn settled(bench: &Bench<'_>, process: Process) -> f64 {
    sleep(Duration::from_secs(bench.options.size(5, 1)));
    process.rss()
}

fn add(section: &mut Section, name: &str, before: f64, after: f64, count: usize) -> f64 {
    let each = (after - before) * 1024.0 / count as f64;
    section.row([name.to_owned(), figure(before), figure(after), figure(each)]);
    each
}

fn idle_connections(bench: &Bench<'_>, count: usize, section: &mut Section) -> Result {
    let plan = bench.plan("connections");
    // Checking a password takes 19 MiB for a moment; whoever signs up does so in an earlier life of the process.
    let account = plan.start("ogeld", &[])?.sign_up()?;
    let gateway = plan.start("ogeld", &[])?;
    let process = gateway.service.process;
    let before = settled(bench, process);
    section.row(["ogeld, nothing to do".to_owned(), String::new(), figure(before), String::new()]);
    section.at_most("nothing to do: RSS", before, IDLE, "MiB");

    let (routes, _) = bench.routes(&gateway, &account)?;
    let route = main_route(&routes)?;
    let path = route.path(&account.project);
    let held = hold::open(gateway.address, count, &path, std::slice::from_ref(&account.key))?;
    let each = add(section, "ogeld, idle after one request", before, settled(bench, process), count);
    section.at_most("idle connection", each, PER_CONNECTION, "KiB");
    drop(held);

    let nginx = peers::start(YARDSTICK, &bench.folder.0, bench.upstream.address)?;
    let process = nginx.service.process;
    let before = settled(bench, process);
    let held = hold::open(nginx.address, count, "/", &[account.key])?;
    add(section, "nginx+limit, idle after one request", before, settled(bench, process), count);
    drop(held);
    section.note(format!("the one request was {}", route.title()));
    Ok(())
}

/// The gateway alone, with the Ghost of a development platform beside it that really builds.
fn log_streams(bench: &Bench<'_>, count: usize, section: &mut Section) -> Result {
    let folder = bench.folder.0.join("streams");
    let (_platform, ghost, platform_key) = development_ghost(bench, &folder.join("dev"))?;
    let mut plan = bench.plan("streams");
    plan.text("ghost.url", &ghost);
    plan.text("ghost.api_key", &platform_key);
    plan.set("deployments.allow_file_urls", "true");
    plan.set("deployments.allow_private_hosts", "true");
    let account = plan.start("ogeld", &[])?.sign_up()?;
    let gateway = plan.start("ogeld", &[])?;
    let build = running_build(&gateway, &account, &folder.join("repository"))?;

    let process = gateway.service.process;
    let before = settled(bench, process);
    let path = format!("/api/v2/builds/{build}/logs");
    let headers = [account.key, "Accept: text/event-stream".to_owned()];
    let started = Instant::now();
    let held = hold::open(gateway.address, count, &path, &headers)?;
    let took = started.elapsed().as_secs_f64();
    let each = add(section, "ogeld, log streams of a running build", before, settled(bench, process), count);
    section.at_most("log stream", each, PER_STREAM, "KiB");
    section.note(format!("{count} log streams were opened in {} s, by 4 clients one after the other", figure(took)));
    drop(held);
    Ok(())
}

/// `ogeld dev` for its Ghost: where it is, and the key that opens it.
fn development_ghost(bench: &Bench<'_>, folder: &Path) -> Result<(Service, String, String)> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let (address, log) = (free_address()?, folder.with_extension("log"));
    let (program, data, listen) = (bench.ogeld.to_string_lossy(), folder.display().to_string(), address.to_string());
    let command = [&*program, "dev", "--json", "--listen", &listen, "--data-dir", &data];
    let service = Service::start("ogeld dev", log.clone(), &command)?.listening(address)?;
    let ready = || -> Option<Value> {
        std::fs::read_to_string(&log).ok()?.lines().find_map(|line| serde_json::from_str(line).ok())
    };
    let ready = eventually("`ogeld dev` says where it is", || Ok(ready()))?;
    let remembered = std::fs::read(folder.join("dev.json")).map_err(|error| error.to_string())?;
    let remembered: Value = serde_json::from_slice(&remembered).map_err(|error| error.to_string())?;
    Ok((service, text(&ready, "/ghostUrl")?.to_owned(), text(&remembered, "/platformKey")?.to_owned()))
}

/// Deploys a repository whose build does not end; answers with the build's id once it runs.
fn running_build(gateway: &Gateway, account: &Account, repository: &Path) -> Result<String> {
    std::fs::create_dir_all(repository)
        .and_then(|()| std::fs::write(repository.join("build.sh"), BUILD))
        .map_err(|error| error.to_string())?;
    let identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false"];
    for words in
        [&["init", "--quiet", "--initial-branch=main"][..], &["add", "--all"], &["commit", "--quiet", "-m", "Build"]]
    {
        shell::run(Command::new("git").args(identity).args(words).current_dir(repository))?;
    }
    let body = json!({
        "projectId": account.project,
        "repoUrl": format!("file://{}", repository.display()),
        "branch": "main",
        "buildCommand": "sh build.sh",
        "outputDirectory": "dist",
    });
    let (mut connection, headers): (Connection, _) = (gateway.connect()?, [account.key.clone()]);
    let made = connection.json("POST", "/api/v2/deployments", &headers, Some(&body))?;
    let build = text(&made, "/buildId")?.to_owned();
    let path = format!("/api/v2/builds/{build}");
    eventually("the build runs", || {
        let found = connection.json("GET", &path, &headers, None)?;
        match text(&found, "/status")? {
            "pending" => Ok(None),
            "building" => Ok(Some(())),
            other => Err(format!("the build is {other}: {found}")),
        }
    })?;
    Ok(build)
}

fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("this did not happen in a minute: {what}"))
}
