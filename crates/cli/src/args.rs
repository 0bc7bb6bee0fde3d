//! The command line: what can be written, and the help that explains it.

mod rewrite;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use self::rewrite::fields_to_flags;
use crate::{
    commands::{call, completions, demo, describe, drain, explain, ls, man, register, rollout, watch},
    config::Flags,
    exit,
};

/// See, call and watch services by name.
#[derive(Debug, Parser)]
#[command(
    name = "callsign",
    bin_name = "callsign",
    version,
    about = "See, call and watch services by name.",
    after_help = format!("{EXAMPLES}\n\n{}", exit::TABLE),
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where to begin.
const EXAMPLES: &str = "\
Examples:
  callsign demo --keep
  callsign ls nodes
  callsign call greeter Greeter.Hello -d '{\"name\": \"World\"}'";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Ls(ls::Args),
    Describe(describe::Args),
    Watch(watch::Args),
    Call(call::Args),
    Explain(explain::Args),
    Drain(drain::Args),
    Undrain(drain::UndrainArgs),
    Rollout(rollout::Args),
    Register(register::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    DemoNode(demo::node::Args),
    #[command(hide = true)]
    DemoEtcd(demo::etcd::Args),
}

// === impl Cli ===

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// clap's, which also stands for `--help` and `--version`.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let command = Self::command();
        Self::try_parse_from(fields_to_flags(&command, args.into_iter().collect()))
    }
}

// === impl Command ===

impl Command {
    /// The service as which it exports spans, if it calls or serves anybody.
    pub(crate) fn exports_as(&self) -> Option<&'static str> {
        match self {
            Self::Demo(_)
            | Self::Describe(_)
            | Self::Call(_)
            | Self::Drain(_)
            | Self::Undrain(_)
            | Self::Rollout(_) => Some("callsign"),
            Self::DemoNode(_) => Some(demo::node::SERVICE),
            Self::Ls(_)
            | Self::Watch(_)
            | Self::Explain(_)
            | Self::Register(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::DemoEtcd(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
