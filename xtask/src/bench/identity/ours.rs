//! Our own credentials: sessions as cookie and as Bearer, logins of programs, API keys.

use serde_json::{Value, json};

use super::super::Result;
use super::super::gateway::Gateway;
use super::{CALLERS, Kind};
use crate::http::{Connection, bearer, text};

const PASSWORD: &str = "correct horse";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(super) fn kinds(gateway: &Gateway, count: usize) -> Result<Vec<Kind>> {
    let mut connection = gateway.connect()?;
    let mut people = Vec::new();
    for person in 0..CALLERS {
        people.push(bearer(&sign_up(&mut connection, &email(person))?));
    }
    let mut each = |make: &mut dyn FnMut(&mut Connection, usize) -> Result<String>| -> Result<Vec<String>> {
        (0..count).map(|n| make(&mut connection, n % CALLERS)).collect()
    };
    let cookies =
        each(&mut |connection, person| Ok(format!("Cookie: ogel_session={}", log_in(connection, &email(person))?)))?;
    let bearers = each(&mut |connection, person| Ok(bearer(&log_in(connection, &email(person))?)))?;
    let programs =
        each(&mut |connection, person| Ok(bearer(text(&let_in(connection, &people[person])?, "/access_token")?)))?;
    let keys = each(&mut |connection, person| key(connection, &people[person]))?;
    Ok(vec![
        Kind { name: "session, cookie", lines: cookies },
        Kind { name: "session, Bearer", lines: bearers },
        Kind { name: "login of a program", lines: programs },
        Kind { name: "API key", lines: keys },
    ])
}

fn email(person: usize) -> String {
    format!("own-{person}@example.com")
}

pub(super) fn sign_up(connection: &mut Connection, email: &str) -> Result<String> {
    let body = json!({ "email": email, "password": PASSWORD, "name": "Bench" });
    let answer = connection.json("POST", "/api/v2/auth/signup", &[], Some(&body))?;
    Ok(text(&answer, "/session/token")?.to_owned())
}

/// The token of a new session.
pub(super) fn log_in(connection: &mut Connection, email: &str) -> Result<String> {
    let answer = connection.json("POST", LOGIN, &[], Some(&credentials(email)))?;
    Ok(text(&answer, "/session/token")?.to_owned())
}

/// Whether it was a login; not where there are too many of them at once.
pub(super) fn try_to_log_in(connection: &mut Connection, email: &str) -> Result<bool> {
    match connection.call("POST", LOGIN, &[], credentials(email).to_string().as_bytes())? {
        (200..=299, _) => Ok(true),
        (503, _) => Ok(false),
        (status, _) => Err(format!("a login was answered with {status}")),
    }
}

const LOGIN: &str = "/api/v2/auth/login";

fn credentials(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

/// The tokens of a program that `person`, an `Authorization` line, lets in on another device.
pub(super) fn let_in(connection: &mut Connection, person: &str) -> Result<Value> {
    let mut post = |path: &str, body: &Value| connection.json("POST", path, &[], Some(body));
    let code = post("/api/v2/auth/device/code", &json!({ "client_id": "bench" }))?;
    let decision = json!({ "userCode": text(&code, "/user_code")? }).to_string();
    let (status, _) =
        connection.call("POST", "/api/v2/auth/device/approve", &[person.to_owned()], decision.as_bytes())?;
    if status != 204 {
        return Err(format!("a program could not be let in: {status}"));
    }
    let asked =
        json!({ "grant_type": DEVICE_GRANT, "client_id": "bench", "device_code": text(&code, "/device_code")? });
    connection.json("POST", "/api/v2/auth/token", &[], Some(&asked))
}

/// The next tokens of a program: all that a login does, but no password.
pub(super) fn renew(connection: &mut Connection, tokens: &Value) -> Result<Value> {
    let asked = json!({ "grant_type": "refresh_token", "client_id": "bench", "refresh_token": text(tokens, "/refresh_token")? });
    connection.json("POST", "/api/v2/auth/token", &[], Some(&asked))
}

fn key(connection: &mut Connection, person: &str) -> Result<String> {
    let body = json!({ "name": "bench" });
    let made = connection.json("POST", "/api/v2/auth/api-keys", &[person.to_owned()], Some(&body))?;
    Ok(bearer(text(&made, "/secret")?))
}
