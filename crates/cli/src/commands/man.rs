//! `callsign man`: manual pages, made of the same words as the help.

use clap::CommandFactory as _;

use crate::{
    args::Cli,
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    suggest,
};

/// Print a manual page, of `callsign` or of one of its commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  callsign man call | man -l -")]
pub(crate) struct Args {
    /// The command; without it, the page of the whole
    command: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let page = match &args.command {
        None => command,
        Some(name) => {
            let names: Vec<_> = command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(|sub| sub.get_name().to_owned())
                .collect();
            let Some(sub) = command.find_subcommand(name).filter(|sub| !sub.is_hide_set()) else {
                let names = || names.iter().map(String::as_str);
                let error = CliError::new(Exit::Usage, format!("there is no command {name}"))
                    .because(format!("the commands are {}", suggest::enumerate(names())));
                return Err(match suggest::nearest(name, names()) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error,
                });
            };
            // The page is called callsign-ls, as git has it; what is typed stays `callsign ls`.
            let title: &'static str = format!("callsign-{name}").leak();
            sub.clone().name(title)
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    context.out.write(&String::from_utf8_lossy(&text))
}
