//! `ogel password`: asks for the old and the new one where nobody reads along, or takes two lines from stdin.

use crate::{
    Context, Result,
    failure::{Exit, Failure},
};
use ogel_api::auth::ChangePassword;
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Read as _};

/// Longer than two passwords may be; a file piped in by mistake is, too.
const MAX_BYTES: u64 = 64 * 1024;

pub(crate) async fn run(context: &Context) -> Result {
    let client = context.client()?;
    // Not asked for in vain.
    client.session().await.map_err(|error| context.explain(error))?;
    let change = if std::io::stdin().is_terminal() { ask()? } else { piped()? };
    client.change_password(&change).await.map_err(|error| context.explain(error))?;
    context.output.note("The password is changed; every other login of your account has ended");
    if context.output.json { context.output.json(&json!({ "changed": true })) } else { Ok(()) }
}

fn ask() -> Result<ChangePassword> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map_err(|error| Failure::new(Exit::Failed, "SYSTEM", format!("cannot read the password: {error}")))
    };
    let current_password = ask("Current password: ")?;
    let new_password = ask("New password: ")?;
    if ask("New password again: ")? != new_password {
        return Err(Failure::usage("the new passwords differ; nothing was changed"));
    }
    Ok(ChangePassword { current_password, new_password })
}

fn piped() -> Result<ChangePassword> {
    let lines: Vec<String> = std::io::stdin()
        .lock()
        .take(MAX_BYTES)
        .lines()
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
    match <[String; 2]>::try_from(lines) {
        Ok([current_password, new_password]) => Ok(ChangePassword { current_password, new_password }),
        Err(_) => Err(Failure::usage("stdin needs two lines: the current password, and the new one")
            .hint("at a terminal both are asked for")),
    }
}
