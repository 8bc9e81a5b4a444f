//! A question before what cannot be taken back.

use crate::{
    Context, Result,
    args::Confirmation,
    failure::{Exit, Failure},
};
use std::io::IsTerminal as _;

/// Goes on if `--yes` was given or the person says so. Where nobody can be asked, that is a mistake in the command.
pub(crate) async fn confirm(context: &Context, given: &Confirmation, question: &str) -> Result {
    if given.yes {
        return Ok(());
    }
    if context.output.json || !std::io::stdin().is_terminal() {
        let failure = Failure::new(Exit::Usage, "NOT_CONFIRMED", format!("{question} Nobody is here to answer"));
        return Err(failure.hint("add `--yes` if you mean it"));
    }
    context.output.ask(&format!("{question} [y/N]"));
    // Not on the thread that listens for an interrupt.
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    match answer.await {
        Ok(Ok(line)) if is_yes(&line) => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "NOT_CONFIRMED", "nothing was changed")),
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(is_yes("y\n") && is_yes(" YES\r\n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("no\n") && !is_yes("yesterday\n"));
    }
}
