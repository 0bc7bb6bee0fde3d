//! The `callsign` command. It owns all printing and all exit codes; what it does is done by the `callsign` crate.

mod args;
mod commands;
mod config;
mod context;
mod error;
mod exit;
mod output;
mod reflect;
mod suggest;
mod telemetry;
mod units;

use std::process::ExitCode;

use self::{
    args::{Cli, Command},
    config::{Env, Settings},
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    output::{ColorChoice, Out},
    telemetry::Telemetry,
};

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads to its end is no failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let env = Env::read();
    let settings = match Settings::load(&cli.flags, &env) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, Out::new(None, ColorChoice::Auto, env.get("NO_COLOR").is_some())),
    };
    let out = Out::new(settings.output, settings.color, settings.colorless);
    match run(&cli.command, &Context { settings, out }) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => fail(&error, out),
    }
}

fn run(command: &Command, context: &Context) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Other, "cannot start the runtime").because_of(&error))?;
    let result = runtime.block_on(async {
        let telemetry = Telemetry::start(command.exports_as(), &context.settings, context.out);
        let result = match command {
            // These have an order of their own in which to end.
            Command::Demo(args) => commands::demo::run(args, context).await,
            Command::DemoNode(args) => commands::demo::node::run(args, context).await,
            Command::DemoEtcd(args) => commands::demo::etcd::run(args, context).await,
            Command::Register(args) => commands::register::run(args, context).await,
            other => tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => Err(CliError::quiet(Exit::Interrupted)),
                result = dispatch(other, context) => result,
            },
        };
        telemetry.close(context.out).await;
        result
    });
    // A thread may be waiting for input that never comes; nothing else is left to wait for.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: &Command, context: &Context) -> Result<()> {
    match command {
        Command::Ls(args) => commands::ls::run(args, context).await,
        Command::Describe(args) => commands::describe::run(args, context).await,
        Command::Watch(args) => commands::watch::run(args, context).await,
        Command::Call(args) => commands::call::run(args, context).await,
        Command::Explain(args) => commands::explain::run(args, context).await,
        Command::Drain(args) => commands::drain::run(args, context).await,
        Command::Undrain(args) => commands::drain::undrain(args, context).await,
        Command::Rollout(args) => commands::rollout::run(args, context).await,
        Command::Completions(args) => commands::completions::run(args, context),
        Command::Man(args) => commands::man::run(args, context),
        Command::Demo(_) | Command::DemoNode(_) | Command::DemoEtcd(_) | Command::Register(_) => Ok(()),
    }
}

fn fail(error: &CliError, out: Out) -> ExitCode {
    let text = error.render(out.talk);
    if !text.is_empty() {
        out.say(text.trim_end());
    }
    error.exit().into()
}
