//! `ogel account`: take along what is kept about oneself, and leave.

use crate::{
    Context, Result,
    args::AccountCommand,
    failure::{Exit, Failure},
    plain,
    settings::TokenSource,
};
use ogel_api::{auth::AuthMethod, users::DeleteAccount};
use ogel_client::{Client, Download};
use serde_json::json;
use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    path::Path,
};

/// No password is longer.
const LONGEST_LINE: u64 = 4096;

pub(crate) async fn run(context: &Context, command: AccountCommand) -> Result {
    match command {
        AccountCommand::Export { output } => export(context, output.as_deref()).await,
        AccountCommand::Delete { yes, password_stdin } => delete(context, yes, password_stdin).await,
    }
}

async fn export(context: &Context, path: Option<&Path>) -> Result {
    let client = context.client()?;
    // Renews a token that has run out, which a download cannot.
    client.session().await.map_err(|error| context.explain(error))?;
    let mut download = client.export_account().await.map_err(|error| context.explain(error))?;
    let Some(path) = path else {
        while let Some(piece) = download.next().await.map_err(|error| context.explain(error))? {
            context.output.bytes(&piece)?;
        }
        return context.output.bytes(b"\n");
    };
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, "SYSTEM", format!("cannot write `{}`: {error}", path.display()))
    };
    let mut file = new_file(path).map_err(failed)?;
    if let Err(failure) = save(context, &mut download, &mut file, failed).await {
        // Half a document is none.
        std::fs::remove_file(path).ok();
        return Err(failure);
    }
    context.output.note(&format!("Wrote {}; only you can read it", path.display()));
    if context.output.json { context.output.json(&json!({ "file": path })) } else { Ok(()) }
}

async fn save(
    context: &Context,
    download: &mut Download,
    file: &mut std::fs::File,
    failed: impl Fn(std::io::Error) -> Failure,
) -> Result {
    while let Some(piece) = download.next().await.map_err(|error| context.explain(error))? {
        file.write_all(&piece).map_err(&failed)?;
    }
    file.sync_all().map_err(&failed)
}

fn new_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

async fn delete(context: &Context, yes: bool, password_stdin: bool) -> Result {
    let client = context.client()?;
    let session = client.session().await.map_err(|error| context.explain(error))?;
    if session.method == AuthMethod::ApiKey {
        let message = "an API key cannot delete the account of its person";
        return Err(Failure::new(Exit::NotAllowed, "FORBIDDEN", message).hint("log in with `ogel login`"));
    }
    let password = if password_stdin { Some(line()?) } else { None };
    if !yes {
        ask(context, &client, &session.user.email, password_stdin)?;
    }
    client.delete_account(&DeleteAccount { password }).await.map_err(|error| {
        let is_old = error.code() == Some("REAUTHENTICATION_REQUIRED");
        let failure = context.explain(error);
        if is_old { failure.hint("`ogel login` again, then repeat this; or use `--password-stdin`") } else { failure }
    })?;
    context.output.note(&format!("Deleted the account {}", plain::line(&session.user.email)));
    let settings = &context.settings;
    if matches!(settings.token_source, TokenSource::File | TokenSource::Keyring) {
        settings.vault()?.forget(&settings.config)?;
    }
    if context.output.json { context.output.json(&json!({ "deleted": session.user.id })) } else { Ok(()) }
}

/// Whoever types the address means it.
fn ask(context: &Context, client: &Client, email: &str, stdin_is_taken: bool) -> Result {
    if stdin_is_taken || !std::io::stdin().is_terminal() {
        return Err(Failure::usage("this cannot be undone, and there is nobody to ask").hint("say so with `--yes`"));
    }
    let email = plain::line(email);
    context.output.ask(&format!(
        "This deletes the account {email} at {} for good, with every organization that only you belong to.\n\
         Type the e-mail address to go on:",
        client.base_url()
    ));
    let mut typed = String::new();
    std::io::stdin()
        .read_line(&mut typed)
        .map_err(|error| Failure::new(Exit::Failed, "SYSTEM", format!("cannot read from stdin: {error}")))?;
    if typed.trim().eq_ignore_ascii_case(&email) {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "NOT_CONFIRMED", "that is another address; nothing was deleted"))
}

fn line() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(LONGEST_LINE).read_to_string(&mut text).map_err(|error| {
        Failure::new(Exit::Failed, "SYSTEM", format!("cannot read the password from stdin: {error}"))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
