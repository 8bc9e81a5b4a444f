//! Clients as they should be: each request is tried again, with the same key, until it has an answer that settles it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Account, Cluster, PLATFORM_KEY, eventually};
use crate::http::{Connection, text};
use crate::{Result, shell};

/// How long one try may take.
const TRY: Duration = Duration::from_secs(20);
/// How long a client goes on trying.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What came of one request, over all its tries.
pub(crate) struct Settled {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Tries that ended without an answer, or with one that says "try again".
    pub(crate) repeated: usize,
}

/// Whether an answer asks for another try.
fn is_passing(status: u16, body: &Value) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
        || body.pointer("/error/retryable").and_then(Value::as_bool) == Some(true)
}

/// Sends one request until it is settled. `addresses` take turns.
pub(crate) fn settle(
    addresses: &[SocketAddr],
    method: &str,
    path: &str,
    headers: &[String],
    body: Option<&Value>,
) -> Result<Settled> {
    let started = Instant::now();
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut repeated = 0;
    loop {
        let address = addresses[repeated % addresses.len()];
        let outcome = Connection::open_within(address, TRY)
            .and_then(|mut connection| connection.call(method, path, headers, body.as_bytes()));
        let last = match outcome {
            Ok((status, bytes)) => {
                let answer = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                if !is_passing(status, &answer) {
                    return Ok(Settled { status, body: answer, repeated });
                }
                format!("{status} {answer}")
            }
            Err(error) => error,
        };
        if started.elapsed() > PATIENCE {
            return Err(format!("{method} {path} was not settled within {} s: {last}", PATIENCE.as_secs()));
        }
        repeated += 1;
        std::thread::sleep(Duration::from_millis(100 * u64::try_from(repeated.min(10)).unwrap_or(10)));
    }
}

/// Creates that were settled: key -> deployment.
#[derive(Default)]
pub(crate) struct Creates {
    settled: Mutex<BTreeMap<String, String>>,
    unsettled: Mutex<Vec<String>>,
    repeated: Mutex<usize>,
}

impl Creates {
    /// Creates one deployment under `key`.
    pub(crate) fn create(
        &self,
        addresses: &[SocketAddr],
        account: &Account,
        repository: &str,
        key: &str,
        extra: &Value,
    ) {
        let mut body = json!({ "projectId": account.project, "repoUrl": repository, "branch": "main" });
        if let (Some(body), Some(extra)) = (body.as_object_mut(), extra.as_object()) {
            body.extend(extra.clone());
        }
        let headers = [account.key.clone(), format!("Idempotency-Key: {key}")];
        match settle(addresses, "POST", "/api/v2/deployments", &headers, Some(&body)) {
            Ok(Settled { status: 201 | 202, body, repeated }) => {
                let id = body["id"].as_str().or_else(|| body.pointer("/deployment/id").and_then(Value::as_str));
                let id = id.unwrap_or_default().to_owned();
                *lock(&self.repeated) += repeated;
                lock(&self.settled).insert(key.to_owned(), id);
            }
            Ok(Settled { status, body, .. }) => lock(&self.unsettled).push(format!("{key}: {status} {body}")),
            Err(error) => lock(&self.unsettled).push(format!("{key}: {error}")),
        }
    }

    /// The deployments' ids, and how many there are of each answer.
    pub(crate) fn ids(&self) -> Vec<String> {
        lock(&self.settled).values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.settled).len()
    }

    pub(crate) fn repeated(&self) -> usize {
        *lock(&self.repeated)
    }

    /// What was never settled, or was refused for good.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        lock(&self.unsettled).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Every deployment of the project, as the API lists them.
pub(crate) fn listed(cluster: &Cluster, account: &Account) -> Result<Vec<Value>> {
    let ask = |path: &str| settle(&[cluster.address], "GET", path, std::slice::from_ref(&account.key), None);
    all_pages(&account.project, |path| Ok(ask(path)?.body))
}

/// The same, with `ask` answering for each page's path.
pub(crate) fn all_pages(project: &str, mut ask: impl FnMut(&str) -> Result<Value>) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ask(&format!("/api/v2/deployments?projectId={project}&limit=100{cursor}"))?;
        let rows = page["deployments"].as_array().ok_or_else(|| format!("a list is none: {page}"))?;
        all.extend(rows.iter().cloned());
        match page.pointer("/pagination/nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// Which deployments Ghost has of the project: its ids for them.
pub(crate) fn at_ghost(cluster: &Cluster, project: &str) -> Result<Vec<String>> {
    let project = uuid_of(project)?;
    let headers = ["X-Appwrite-Project: console".to_owned(), format!("X-Appwrite-Key: {PLATFORM_KEY}")];
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/projects/{project}/deployments?limit=100{cursor}");
        let page = Connection::open(cluster.ghost_address)?.json("GET", &path, &headers, None)?;
        let rows = page["documents"].as_array().ok_or_else(|| format!("a list is none: {page}"))?;
        for row in rows {
            all.push(text(row, "/$id")?.to_owned());
        }
        match all.last() {
            Some(last) if rows.len() == 100 => cursor = format!("&cursor={last}"),
            _ => return Ok(all),
        }
    }
}

/// Asks Ghost to misbehave.
pub(crate) fn faults(cluster: &Cluster, asked: &Value) -> Result {
    let headers = ["X-Appwrite-Project: console".to_owned(), format!("X-Appwrite-Key: {PLATFORM_KEY}")];
    let body = asked.to_string();
    let (status, answer) =
        Connection::open(cluster.ghost_address)?.call("POST", "/v1/faults", &headers, body.as_bytes())?;
    if status == 204 { Ok(()) } else { Err(format!("Ghost refused faults: {}", String::from_utf8_lossy(&answer))) }
}

/// The UUID in an id of ours: base 32 after the underscore.
pub(crate) fn uuid_of(id: &str) -> Result<String> {
    const DIGITS: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let wrong = || format!("`{id}` is no id");
    let (_, digits) = id.split_once('_').ok_or_else(wrong)?;
    let mut value: u128 = 0;
    for digit in digits.bytes() {
        let digit = DIGITS.iter().position(|known| *known == digit).ok_or_else(wrong)?;
        value = (value << 5) | u128::try_from(digit).map_err(|_| wrong())?;
    }
    let hex = format!("{value:032x}");
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Waits until every deployment of the project has ended, and answers them all.
pub(crate) fn all_ended(cluster: &Cluster, account: &Account, patience: Duration) -> Result<Vec<Value>> {
    eventually(patience, "every deployment to end", || {
        let rows = listed(cluster, account)?;
        let open = rows.iter().filter(|row| matches!(row["status"].as_str(), Some("pending" | "building"))).count();
        if open > 0 { Err(format!("{open} of {} have not ended", rows.len())) } else { Ok(Some(rows)) }
    })
}

/// A git repository with these files, one commit on `main`; its `file://` URL.
pub(crate) fn repository(folder: &Path, name: &str, files: &[(&str, &str)]) -> Result<String> {
    let root: PathBuf = folder.join(name);
    std::fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    for (file, text) in files {
        std::fs::write(root.join(file), text).map_err(|error| error.to_string())?;
    }
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=Chaos", "-c", "user.email=chaos@example.com"];
        shell::output(Command::new("git").args(identity).args(words).current_dir(&root).env("GIT_CONFIG_NOSYSTEM", "1"))
    };
    git(&["init", "--quiet", "--initial-branch=main"])?;
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "--message", "First commit"])?;
    Ok(format!("file://{}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_a_uuid() {
        assert_eq!(uuid_of("prj_01h455vb4pex5vsknk084sn02q").unwrap(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert!(uuid_of("nothing").is_err());
    }
}
