//! `callsign call`: call a method by name, with JSON in and out.

mod body;
mod dial;
mod explained;
mod headers;
mod outcome;
mod recorder;
mod run;

use std::time::Duration;

pub(crate) use self::dial::Dial;
pub(crate) use self::recorder::Recorder;
pub(crate) use self::run::run;
use super::aim::Aim;
use crate::units;

/// Call a method of a service.
///
/// The node is asked for its schema by server reflection, so nothing needs to be generated. A method that takes one message
/// is called once for each message given; one that takes a stream gets all of them in one call.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "callsign call [OPTIONS] <NAME> <METHOD> [--FIELD VALUE]...",
    after_help = "Examples:\n  \
        callsign call greeter Greeter.Hello -d '{\"name\": \"World\"}'\n  \
        callsign call greeter Greeter.Hello --name World --timeout 2s\n  \
        callsign call greeter Greeter.Chat -d @names.json -o json\n  \
        generate | callsign call greeter Greeter.Hello -d @-\n  \
        callsign call static://127.0.0.1:4000 greeter.Greeter/Hello -d @request.json"
)]
pub(crate) struct Args {
    /// The service's name, or a target like `static://127.0.0.1:4000`
    pub(super) name: String,
    /// The method: `Greeter.Hello`, `greeter.Greeter/Hello`, or `Hello` if there is only one
    pub(super) method: String,
    /// The body: JSON, `@file`, or `@-` for stdin; many values, here or in a file, are many messages
    #[arg(long, short, value_name = "JSON")]
    pub(super) data: Vec<String>,
    /// One field of the body, also as `--NAME VALUE`; `a.b=1` sets a field of a field
    #[arg(long, short = 'F', value_name = "NAME=VALUE")]
    pub(super) field: Vec<String>,
    /// A header to send along
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub(super) header: Vec<String>,
    /// How long all of it may take [env: CALLSIGN_TIMEOUT] [default: 30s]
    #[arg(long, short, value_parser = units::parse_duration, value_name = "DURATION")]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) aim: Aim,
    /// The method may be sent twice without harm, so it is tried on another node when one fails in the middle
    #[arg(long)]
    pub(super) idempotent: bool,
    /// Wait for a node when there is none, as long as the timeout allows
    #[arg(long)]
    pub(super) wait: bool,
    /// Say why it was that node, or why none answered: on stderr, as JSON with -o json
    #[arg(long)]
    pub(super) explain: bool,
    /// Do not say which node answered
    #[arg(long, short)]
    pub(super) quiet: bool,
}
