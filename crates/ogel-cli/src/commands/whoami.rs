//! `ogel whoami`: whose token it is, of which kind, and what it allows.

use crate::{Context, Result, age, settings::TokenSource, table};
use ogel_api::auth::{AuthMethod, CurrentSession, SessionKind};

pub(crate) async fn run(context: &Context) -> Result {
    let client = context.client()?;
    let session = client.session().await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&session);
    }
    let pairs: Vec<_> = describe(context, &session).into_iter().filter(|(_, value)| !value.is_empty()).collect();
    context.output.data(&table::pairs(&pairs))
}

fn describe(context: &Context, session: &CurrentSession) -> Vec<(&'static str, String)> {
    let kind = match (session.method, session.api_key_id) {
        (AuthMethod::ApiKey, Some(id)) => format!("API key {id}"),
        (AuthMethod::ApiKey, None) => "API key".to_owned(),
        (AuthMethod::Session, _) if session.session_kind == Some(SessionKind::Cli) => {
            "login of a program, which renews it".to_owned()
        }
        (AuthMethod::Session, _) => "session".to_owned(),
        (AuthMethod::StudioSession, _) => "session of Studio".to_owned(),
        (AuthMethod::Unrecognized, _) => "a kind this version does not know".to_owned(),
    };
    let source = match context.settings.token_source {
        TokenSource::Flag => "from `--token`",
        TokenSource::Environment => "from `OGEL_TOKEN`",
        TokenSource::Keyring => "from `ogel login`, kept in the keyring",
        _ => "from `ogel login`, kept in the configuration file",
    };
    let expiry = match session.expires_at {
        Some(at) => format!("expires {}", age::relative(at, context.environment.now_ms)),
        None => "does not expire".to_owned(),
    };
    let scopes: Vec<&str> = session.scopes.iter().map(|scope| scope.as_str()).collect();
    let organizations: Vec<String> =
        session.organizations.iter().map(|own| format!("{} ({}, {} plan)", own.slug, own.role, own.plan)).collect();
    vec![
        ("user", format!("{} <{}>", session.user.name, session.user.email)),
        ("server", context.settings.api_url.clone()),
        ("token", format!("{kind}, {source}, {expiry}")),
        ("scopes", scopes.join(" ")),
        ("organizations", organizations.join(", ")),
    ]
}
