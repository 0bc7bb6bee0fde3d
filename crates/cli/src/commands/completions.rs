//! `callsign completions`: the script that lets a shell complete our command lines.

use clap::CommandFactory as _;

use crate::{args::Cli, context::Context, error::Result};

/// Print the completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  callsign completions bash > ~/.local/share/bash-completion/completions/callsign"
)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "callsign", &mut script);
    context.out.write(&String::from_utf8_lossy(&script))
}
