//! The page on which a person lets another device in: plain HTML that works without scripts, and in which nothing but its
//! own style is allowed.
//!
//! What the device says of itself is shown as its word, beside what we know: from where it asked, and when. A form is taken
//! only from this page: the pipeline asks the browser where it comes from, and approving also takes a token that belongs
//! to the login, so that no other page can press the button.

use super::oauth::{DEVICE_PAGE, shown};
use crate::{
    caller::{Caller, Identity},
    error::Failure,
    extract::read_body,
    pipeline::RequestContext,
    secrets,
    state::App,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header},
    response::IntoResponse as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ogel_api::{
    auth::{AuthMethod, Scope},
    error::ErrorCode,
};
use ogel_store::{DeviceLogin, DeviceStatus};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, sync::LazyLock};

type Fields = HashMap<String, String>;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--text:#16181d;--quiet:#5b6270;--line:#dfe3ea;--accent:#2456d6;\
--on-accent:#fff;--code:#eef2fb;--warn:#fff4dc;--warn-text:#6b4700;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--page:#0f1115;--card:#181b21;--text:#eceef2;--quiet:#a2a9b8;--line:#2c313b;\
--accent:#8db0ff;--on-accent:#0b1730;--code:#1f2736;--warn:#33290f;--warn-text:#f3d48b;--bad:#ff8a80}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:24px;background:var(--page);color:var(--text);\
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
main{width:100%;max-width:460px;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:32px}\
.brand{font-weight:700;letter-spacing:.02em;color:var(--quiet);margin:0 0 20px}\
h1{font-size:1.4rem;line-height:1.25;margin:0 0 8px}\
p{margin:0 0 16px}.quiet{color:var(--quiet)}\
.code{font:700 1.9rem/1 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.12em;text-align:center;\
background:var(--code);border-radius:10px;padding:18px 8px;margin:16px 0}\
dl{display:grid;grid-template-columns:auto 1fr;gap:8px 16px;margin:0 0 16px;padding:16px 0;border-top:1px solid var(--line);\
border-bottom:1px solid var(--line)}\
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}\
label{display:block;font-weight:600;margin:0 0 16px}\
input{display:block;width:100%;margin-top:6px;padding:11px 12px;font:inherit;color:inherit;background:var(--page);\
border:1px solid var(--line);border-radius:8px}\
input.typed{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.12em;text-transform:uppercase}\
.row{display:flex;gap:12px}\
button{flex:1;width:100%;padding:12px 16px;font:inherit;font-weight:600;border-radius:8px;cursor:pointer;\
border:1px solid var(--line);background:transparent;color:inherit}\
button.yes{background:var(--accent);border-color:var(--accent);color:var(--on-accent)}\
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}\
.note{background:var(--warn);color:var(--warn-text);border-radius:8px;padding:12px 14px;font-size:.94rem}\
.bad{color:var(--bad);font-weight:600}";

/// Nothing but our own style may be loaded, no other page may frame this one, and forms go nowhere else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("a policy is plain ASCII")
});

fn page(status: StatusCode, title: &str, content: &Markup) -> Response<Body> {
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Ogel" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { p.brand { "Ogel" } (content) } }
        }
    };
    let mut answer = (status, text.into_string()).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // `no-referrer` would make the browser send `Origin: null` with the form.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

/// A failure as a page: what the API would say, for a person.
fn failed(failure: Failure) -> Response<Body> {
    let status = failure.code().status();
    if status.is_server_error() {
        // Logged by the pipeline, like every fault of ours.
        return failure.into_response();
    }
    let content = html! {
        h1 { "This did not work" }
        p.bad { (failure.0.message) }
        p { a href=(DEVICE_PAGE) { "Start over" } }
    };
    page(status, "This did not work", &content)
}

pub(crate) async fn show(State(app): State<App>, context: RequestContext, uri: Uri) -> Response<Body> {
    let query = fields(uri.query().unwrap_or_default().as_bytes());
    let code = query.get("user_code").map(String::as_str).unwrap_or_default();
    let Some(caller) = person(&context) else { return log_in_form(code, None, StatusCode::OK) };
    if code.is_empty() {
        return code_form("", None);
    }
    match super::device::find(&app, caller, code).await {
        Ok(login) => confirm(&app, caller, &login),
        Err(failure) if failure.code() == ErrorCode::NotFound => code_form(code, Some(&failure.0.message)),
        Err(failure) => failed(failure),
    }
}

pub(crate) async fn submit(State(app): State<App>, context: RequestContext, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let given = match read_body(body, 16 << 10).await {
        Ok(bytes) => fields(&bytes),
        Err(failure) => return failed(failure),
    };
    let field = |name: &str| given.get(name).map(String::as_str).unwrap_or_default();
    let (action, code) = (field("action"), field("user_code"));
    if action == "login" {
        return log_in(&app, &context, &parts.headers, field("email"), field("password"), code).await;
    }
    let Some(caller) = person(&context) else {
        return log_in_form(code, Some("Your login has ended; log in again."), StatusCode::UNAUTHORIZED);
    };
    let decision = match action {
        "approve" => DeviceStatus::Approved,
        "deny" => DeviceStatus::Denied,
        _ => return code_form(code, None),
    };
    // Made for this login and this code, by this page.
    let proof = app.sealer.open(&proof_context(caller), field("proof"));
    if !proof.is_ok_and(|sealed| Some(sealed) == secrets::typed_user_code(code).map(String::into_bytes)) {
        let message = "this form is not from the page you see now; open the address on your device again";
        return failed(Failure::new(ErrorCode::CrossSiteRequest, message));
    }
    match super::device::decide(&app, caller, code, decision).await {
        Ok(()) if decision == DeviceStatus::Approved => {
            let content = html! {
                h1 { "Your device is let in" }
                p { "It continues by itself in a moment. You can close this page." }
                p.quiet { "You find and end its login in the list of your sessions." }
            };
            page(StatusCode::OK, "Your device is let in", &content)
        }
        Ok(()) => {
            let content = html! {
                h1 { "Your device is not let in" }
                p { "It was told so. You can close this page." }
                p.quiet { "If you did not start this yourself, somebody tried to use your account." }
            };
            page(StatusCode::OK, "Your device is not let in", &content)
        }
        Err(failure) => failed(failure),
    }
}

async fn log_in(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    email: &str,
    password: &str,
    code: &str,
) -> Response<Body> {
    let logged_in = async {
        let user = super::user_with_password(app, email, password.to_owned(), context).await?;
        super::start_session(app, user.id, context, headers).await
    };
    match logged_in.await {
        Ok((cookie, _)) => {
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("user_code", code).finish();
            let to = if code.is_empty() { DEVICE_PAGE.to_owned() } else { format!("{DEVICE_PAGE}?{query}") };
            let headers = [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store".to_owned())];
            (StatusCode::SEE_OTHER, headers, [(header::SET_COOKIE, cookie)]).into_response()
        }
        Err(failure) if failure.code() == ErrorCode::InvalidLogin => {
            log_in_form(code, Some("E-mail or password is wrong."), StatusCode::UNAUTHORIZED)
        }
        Err(failure) => failed(failure),
    }
}

/// Somebody who is logged in here or at Studio. An API key is no person.
fn person(context: &RequestContext) -> Option<&Caller> {
    match &context.identity {
        Identity::Known(caller) if caller.method != AuthMethod::ApiKey => Some(caller),
        _ => None,
    }
}

fn proof_context(caller: &Caller) -> String {
    format!("device page of {} {:?}", caller.user.id, caller.session_id)
}

fn fields(bytes: &[u8]) -> Fields {
    url::form_urlencoded::parse(bytes).take(16).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn log_in_form(code: &str, problem: Option<&str>, status: StatusCode) -> Response<Body> {
    let content = html! {
        h1 { "Log in to let a device in" }
        p.quiet { "A device asks to use your Ogel account. Log in first; then you decide." }
        @if let Some(problem) = problem { p.bad role="alert" { (problem) } }
        form method="post" action=(DEVICE_PAGE) {
            input type="hidden" name="user_code" value=(code);
            label { "E-mail" input type="email" name="email" autocomplete="username" required autofocus; }
            label { "Password" input type="password" name="password" autocomplete="current-password" required; }
            button.yes name="action" value="login" { "Log in" }
        }
    };
    page(status, "Log in", &content)
}

fn code_form(code: &str, problem: Option<&str>) -> Response<Body> {
    let content = html! {
        h1 { "Which code does your device show?" }
        @if let Some(problem) = problem { p.bad role="alert" { (problem) } }
        form method="get" action=(DEVICE_PAGE) {
            label { "Code"
                input.typed type="text" name="user_code" value=(code) placeholder="XXXX-XXXX" maxlength="12"
                    autocomplete="off" spellcheck="false" required autofocus;
            }
            button.yes { "Continue" }
        }
    };
    let status = if problem.is_some() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    page(status, "Enter the code", &content)
}

fn confirm(app: &App, caller: &Caller, login: &DeviceLogin) -> Response<Body> {
    let proof = match app.sealer.seal(&proof_context(caller), login.user_code.as_bytes()) {
        Ok(proof) => proof,
        Err(error) => return failed(ogel_api::error::Error::internal(error).into()),
    };
    let minutes = (app.world.now() - login.created_at).num_minutes();
    let asked = match minutes {
        0 => "just now".to_owned(),
        1 => "a minute ago".to_owned(),
        minutes => format!("{minutes} minutes ago"),
    };
    let everything = Scope::ALL.iter().all(|scope| *scope == Scope::Admin || login.scopes.contains(scope));
    let content = html! {
        h1 { "Let this device in?" }
        p.quiet { "Compare the code with the one your device shows." }
        div.code { (shown(&login.user_code)) }
        dl {
            dt { "Program" } dd { @match &login.client_id { Some(name) => { (name) } None => { "does not say its name" } } }
            dt { "From" } dd { @match login.ip { Some(ip) => { (ip) } None => { "unknown" } } }
            @if let Some(agent) = &login.user_agent { dt { "Says it is" } dd { (agent) } }
            dt { "Asked" } dd { (asked) }
            dt { "May" }
            dd {
                @if everything { "everything your account may" @if login.scopes.contains(&Scope::Admin) { ", and operate the platform" } }
                @else { (login.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")) }
            }
            dt { "Account" } dd { (caller.user.name) " · " (caller.user.email) }
        }
        p.note { "Only go on if you started this yourself, a moment ago. Whoever sent you this address could be after your account." }
        form method="post" action=(DEVICE_PAGE) {
            input type="hidden" name="user_code" value=(login.user_code);
            input type="hidden" name="proof" value=(proof);
            div.row {
                button name="action" value="deny" { "Refuse" }
                button.yes name="action" value="approve" { "Let it in" }
            }
        }
    };
    page(StatusCode::OK, "Let this device in?", &content)
}
