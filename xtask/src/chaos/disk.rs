//! The disk under SQLite fills up, and is made larger again. The disk is a file system in memory that only the process
//! under test sees, so nobody else's disk is at risk and nobody needs to be root.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::Chaos;
use super::clients::all_pages;
use super::report::Outcome;
use crate::bench::Scratch;
use crate::cluster::{Replica, plans_without_quotas, quoted};
use crate::http::{Connection, bearer, text};
use crate::{Result, shell};

/// Bytes of one create's environment: a few dozen of them fill the disk.
const PAYLOAD: usize = 30_000;

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let folder = Scratch::make("ogel-disk-")?;
    let disk = folder.0.join("disk");
    std::fs::create_dir_all(&disk).map_err(|error| error.to_string())?;
    let mounted = disk.display().to_string();
    let settings = [
        ("database.url", quoted(&format!("sqlite:{}", disk.join("ogel.db").display()))),
        // Nobody answers there: a create is acknowledged by its row alone, and rows are what this is about.
        ("ghost.url", quoted("http://127.0.0.1:9")),
        ("ghost.api_key", quoted("platform-key")),
        ("secrets.encryption_key", quoted("b2dlbC1jbHVzdGVyLWtleS1pcy1ub3QtYS1zZWNyZXQ=")),
        ("deployments.accept_wait_seconds", "0".to_owned()),
        ("deployments.allow_private_hosts", "true".to_owned()),
        ("limits.address", "0".to_owned()),
        ("limits.api_key_free", "0".to_owned()),
        ("limits.session", "0".to_owned()),
        ("limits.deploy", "0".to_owned()),
        ("limits.organization_free", "0".to_owned()),
        ("limits.project_free", "0".to_owned()),
        ("billing.plans_file", quoted(&plans_without_quotas(&chaos.ogeld, &folder.0)?)),
        ("log.filter", quoted("warn")),
    ];
    let script = format!("mount -t tmpfs -o size=8m tmpfs '{mounted}' && exec \"$@\"");
    let under = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned);
    let replica = Replica::start_under(1, &chaos.ogeld, &folder.0, &settings, &under)
        .map_err(|error| format!("{error}\n(this row needs user namespaces and `unshare`, of util-linux)"))?;
    let mut connection = Connection::open(replica.address)?;
    let body = json!({ "email": "disk@example.com", "password": "correct horse battery", "name": "Disk" });
    let answer = connection.json("POST", "/api/v2/auth/signup", &[], Some(&body))?;
    let session = [bearer(text(&answer, "/session/token")?)];
    let project = connection.json("POST", "/api/v2/projects", &session, Some(&json!({ "name": "disk" })))?;
    let project = text(&project, "/id")?.to_owned();

    let create = |connection: &mut Connection| -> Result<(u16, Value)> {
        let body = json!({ "projectId": project, "repoUrl": "http://127.0.0.1:9/a.git", "branch": "main",
            "env": { "FILL": "x".repeat(PAYLOAD) } });
        let (status, bytes) = connection.call("POST", "/api/v2/deployments", &session, body.to_string().as_bytes())?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    };
    let (mut acknowledged, mut refusals, mut odd) = (Vec::new(), 0, Vec::new());
    let mut attempt = |connection: &mut Connection, acknowledged: &mut Vec<String>| -> Result<bool> {
        let (status, body) = create(connection)?;
        match status {
            201 | 202 => acknowledged.push(text(&body, "/id")?.to_owned()),
            507 if body.pointer("/error/code") == Some(&json!("STORAGE_FULL")) => refusals += 1,
            _ => odd.push(format!("{status} {body}")),
        }
        Ok(matches!(status, 201 | 202))
    };
    for _ in 0..chaos.many(400, 140) {
        attempt(&mut connection, &mut acknowledged)?;
    }
    let before = acknowledged.len();
    // Reads go on.
    let path = format!("/api/v2/projects/{project}");
    let readable = connection.call("GET", &path, &session, &[])?.0;
    grow(&replica, &mounted)?;
    let recovered = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        attempt(&mut connection, &mut acknowledged).unwrap_or(false)
    });
    let known = listed(&mut connection, &session, &project)?;
    let lost = acknowledged.iter().filter(|id| !known.contains(id)).count();
    let mut outcome = Outcome::new("disk full under SQLite", "creates");
    outcome.note(format!(
        "{before} creates acknowledged, then {refusals} refused with `STORAGE_FULL`; {} more after the disk grew",
        acknowledged.len() - before
    ));
    outcome.none("acknowledged creates lost", lost);
    outcome.none("rows nobody was told of", known.len().saturating_sub(acknowledged.len()));
    outcome.none("answers that are not the typed error", odd.len());
    outcome.none("disk never full", usize::from(refusals == 0));
    outcome.none("reads refused while full", usize::from(readable != 200));
    outcome.none("no recovery without a restart", usize::from(!recovered));
    odd.iter().take(3).for_each(|sentence| println!("  {sentence}"));
    Ok(outcome)
}

/// Gives the disk room again, from inside the process's own namespaces.
fn grow(replica: &Replica, mounted: &str) -> Result {
    let process = replica.process().ok_or("the replica does not run")?.to_string();
    let namespaces = ["--target", &process, "--user", "--mount", "--preserve-credentials"];
    let mut command = Command::new("nsenter");
    shell::run(command.args(namespaces).args(["mount", "-o", "remount,size=64m", mounted]))
}

fn listed(connection: &mut Connection, session: &[String], project: &str) -> Result<Vec<String>> {
    let rows = all_pages(project, |path| connection.json("GET", path, session, None))?;
    rows.iter().map(|row| Ok(text(row, "/id")?.to_owned())).collect()
}
