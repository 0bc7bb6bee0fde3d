//! `callsign watch`: what changes, as it changes.

mod changes;

use callsign::core::{ServiceName, registry::WatchOptions};

use self::changes::Changes;
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
};

/// Follow services and their nodes as they come, change and go.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callsign watch\n  callsign watch greeter -o json | jq -c '{event, id: .node.id}'\n\n\
        Signs: = there already, + came, ~ changed, - went, ! the registry does not answer"
)]
pub(crate) struct Args {
    /// One service only
    name: Option<String>,
}

/// Runs the command, until it is interrupted.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let registry = context.registry()?;
    let mut options = WatchOptions::in_domain(context.settings.domain.clone());
    if let Some(name) = &args.name {
        options = options.of(ServiceName::new(name)?);
    }
    let mut watch = registry.watch(&options).await?;
    let mut changes = Changes::default();
    while let Some(event) = watch.next().await {
        let whole = matches!(event, callsign::core::WatchEvent::SnapshotDone(_)) && !changes.is_started();
        for change in changes.take(event, context.now()) {
            context.out.print_item(&change)?;
        }
        if whole {
            let what = args.name.as_deref().unwrap_or("all services");
            context.out.note(&format!("watching {what} in {registry}; Ctrl-C ends it"));
        }
    }
    Err(CliError::new(Exit::Other, format!("the registry {registry} ended the watch")))
}
