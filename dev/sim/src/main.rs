//! The simulator: `cargo xtask sim NAME`.
//!
//! It runs the selection that applications run, not a copy of it, on virtual time and with seeds: the same scenario gives the
//! same results, to the byte. Beside it run the algorithms of peers, on the same machines and with the same calls.
//!
//! A `scenario` is a file. `run` runs it for each policy, value and seed; each run is a `world` of clients with a `balancer`
//! each and a `fleet` of nodes; what is `measure`d there becomes a `report`. What clients hear of the
//! nodes while a registry fails is `news`. A `study` is what needs no calls.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing tables is what this program is for")]

mod balancer;
mod clock;
mod fleet;
mod histogram;
mod measure;
mod news;
mod random;
mod report;
mod run;
mod scenario;
mod shelf;
mod study;
mod world;

use std::{
    io::{IsTerminal, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use self::{
    report::{Docs, Report},
    scenario::Scenario,
};

const HELP: &str = "\
Runs scenarios, and says what came of them.

Usage: cargo xtask sim [NAME | FILE.toml]... [--quick] [--seeds N] [--docs] [--list]

Without a name: all of dev/sim/scenarios, and the studies.

Options:
  --quick     one seed: to see that it works, not to quote
  --seeds N   so many seeds in place of the scenario's own
  --docs      also puts the results into docs/results.md
  --list      only says which scenarios there are

Tables go to stdout; JSON and pictures to target/sim. It fails when a result is not as its scenario expects.
";

/// What was asked for.
#[derive(Debug, Default)]
struct Asked {
    names: Vec<String>,
    seeds: Option<u64>,
    docs: bool,
    list: bool,
    help: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = parse(&args).and_then(|asked| serve(&asked));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(args: &[String]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match &**arg {
            "--quick" => asked.seeds = Some(1),
            "--seeds" => {
                let number = args.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                asked.seeds = Some(number.ok_or("--seeds wants a number above zero")?);
            }
            "--docs" => asked.docs = true,
            "--list" => asked.list = true,
            "-h" | "--help" => asked.help = true,
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option}\n\n{HELP}"));
            }
            name => asked.names.push(name.to_owned()),
        }
    }
    Ok(asked)
}

/// Whether all was as expected.
fn serve(asked: &Asked) -> Result<bool, String> {
    if asked.help {
        print!("{HELP}");
        return Ok(true);
    }
    let chosen = shelf::choose(&asked.names)?;
    if asked.list {
        chosen.iter().for_each(|item| println!("{:<20} {}", item.name, item.title()));
        return Ok(true);
    }
    let mut well = true;
    for item in &chosen {
        let report = match &item.kind {
            shelf::Kind::Scenario(scenario) => {
                let mut scenario = scenario.clone();
                scenario.seeds = asked.seeds.unwrap_or(scenario.seeds);
                let (report, misses) = run_one(&scenario)?;
                well &= misses == 0;
                report
            }
            shelf::Kind::Study(study) => {
                let (report, misses) = study.report();
                misses.iter().for_each(|miss| eprintln!("not as expected: {miss}"));
                well &= misses.is_empty();
                report
            }
        };
        println!("{}", report.to_text());
        let folder =
            keep(&item.name, &report).map_err(|error| format!("cannot keep the results: {error}"))?;
        println!("more in {}\n", folder.display());
        if asked.docs {
            let written = Docs::new().write(&item.name, &item.source, &report);
            written.map_err(|error| format!("cannot write docs/results.md: {error}"))?;
        }
    }
    Ok(well)
}

/// Runs one scenario; how many results are not as expected.
fn run_one(scenario: &Scenario) -> Result<(Report, usize), String> {
    let (all, done) = (run::count(scenario), AtomicU64::new(0));
    let is_watched = std::io::stderr().is_terminal();
    let results = run::run(scenario, &|| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if is_watched {
            eprint!("\r{}: {done} of {all} runs ", scenario.title);
            let _ = std::io::stderr().flush();
        }
    })?;
    if is_watched {
        eprintln!("{} calls, {} events", results.calls(), results.events());
    }
    let misses = results.misses(scenario, false);
    for miss in &misses {
        eprintln!("not as expected: {}", miss.0);
    }
    Ok((Report::new(scenario, &results), misses.len()))
}

/// Writes JSON and pictures to `target/sim`, and says where that is.
fn keep(name: &str, report: &Report) -> std::io::Result<PathBuf> {
    // The program lies in `target/release`.
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).unwrap_or(&program).join("sim");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{name}.json")), format!("{:#}\n", report.json))?;
    for (place, chart) in report.charts.iter().enumerate() {
        let path = folder.join(format!("{name}-{}.svg", place + 1));
        std::fs::write(path, chart.to_svg())?;
    }
    Ok(folder)
}
