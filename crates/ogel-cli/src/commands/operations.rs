//! `ogel operations`: show, wait.

use crate::{
    Context, Result,
    args::OperationsCommand,
    failure::{Exit, Failure},
    table,
};
use ogel_api::operations::{Operation, OperationState};
use std::time::Duration;

/// One question to the server; the client's own patience is longer.
const ROUND: Duration = Duration::from_secs(15);

pub(crate) async fn run(context: &Context, command: OperationsCommand) -> Result {
    let client = context.client()?;
    let (id, waits) = match command {
        OperationsCommand::Show { id } => (id, false),
        OperationsCommand::Wait { id } => (id, true),
    };
    let mut operation = client.get_operation(id).await.map_err(|error| context.explain(error))?;
    while waits && operation.state == OperationState::Pending {
        operation = client.wait_for_operation(id, ROUND).await.map_err(|error| context.explain(error))?;
    }
    show(context, &operation)?;
    match (&operation.error, operation.state) {
        (Some(error), _) if waits => Err(Failure::new(Exit::Failed, &error.code, error.message.clone())),
        (None, OperationState::Dead) if waits => {
            let message = "the operation failed too often, and waits for the platform's operators";
            Err(Failure::new(Exit::Failed, "OPERATION_DEAD", message))
        }
        _ => Ok(()),
    }
}

fn show(context: &Context, operation: &Operation) -> Result {
    if context.output.json {
        return context.output.json(operation);
    }
    let about = operation.deployment_id.map_or(operation.project_id.to_string(), |id| id.to_string());
    let row = vec![operation.kind.to_string(), operation.state.to_string(), about, operation.id.to_string()];
    context.output.data(&table::render(&["KIND", "STATE", "OF", "ID"], &[row]))
}
