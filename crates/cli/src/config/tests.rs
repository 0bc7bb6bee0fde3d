use std::path::Path;

use super::{file::File, *};
use crate::{exit::Exit, output::Paint};

/// A folder that holds no `callsign.toml`, for the user's part of the search.
fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
    Env::from(pairs)
}

fn settings(flags: &Flags, env: &Env) -> Settings {
    Settings::load(flags, env).unwrap()
}

#[test]
fn a_flag_beats_our_variable_beats_go_micros_beats_what_is_built_in() {
    let both = env([("CALLSIGN_REGISTRY", "etcd"), ("MICRO_REGISTRY", "consul")]);
    let flags = Flags { registry: Some("memory".into()), ..Flags::default() };
    let registry = |flags: &Flags, env: &Env| settings(flags, env).registry;
    assert_eq!(
        registry(&flags, &both),
        Setting { value: "memory".into(), source: Source::Flag("--registry") }
    );
    let none = Flags::default();
    assert_eq!(
        registry(&none, &both),
        Setting { value: "etcd".into(), source: Source::Env("CALLSIGN_REGISTRY") }
    );
    let go_micro = env([("CALLSIGN_REGISTRY", ""), ("MICRO_REGISTRY", "consul")]);
    assert_eq!(
        registry(&none, &go_micro),
        Setting { value: "consul".into(), source: Source::Env("MICRO_REGISTRY") }
    );
    assert_eq!(registry(&none, &env([])), Setting { value: "local".into(), source: Source::BuiltIn });
}

#[test]
fn the_file_comes_after_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    std::fs::write(&path, "registry = \"consul\"\ntimeout = \"3s\"\noutput = \"json\"\n").unwrap();
    let flags = Flags { config: Some(path.clone()), ..Flags::default() };
    let found = settings(&flags, &env([("CALLSIGN_TIMEOUT", "9s")]));
    assert_eq!(found.registry, Setting { value: "consul".into(), source: Source::File(path) });
    assert_eq!(found.timeout, Some(Duration::from_secs(9)));
    assert_eq!(found.output, Some(Format::Json));
}

#[test]
fn a_value_that_makes_no_sense_is_blamed_on_its_place() {
    let error = Settings::load(&Flags::default(), &env([("CALLSIGN_OUTPUT", "jsn")])).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert_eq!(
        error.render(Paint::OFF),
        "error: \"jsn\" is none of the choices: `table`, `wide`, `json`, `yaml` and `name`\n  \
         because: it is set by the environment variable CALLSIGN_OUTPUT\n  hint: did you mean `json`?\n"
    );
    let error = Settings::load(&Flags::default(), &env([("MICRO_CLIENT_REQUEST_TIMEOUT", "5")])).unwrap_err();
    assert!(error.render(Paint::OFF).contains("MICRO_CLIENT_REQUEST_TIMEOUT"));
    let error = Settings::load(&Flags::default(), &env([("CALLSIGN_DOMAIN", " x")])).unwrap_err();
    assert!(error.render(Paint::OFF).contains("CALLSIGN_DOMAIN"));
}

#[test]
fn a_key_that_is_not_known_is_an_error_with_the_nearest_one() {
    let error = File::parse(Path::new("callsign.toml"), "registri = \"local\"").unwrap_err();
    assert!(error.render(Paint::OFF).contains("did you mean `registry`?"), "{}", error.render(Paint::OFF));
    let error = File::parse(Path::new("callsign.toml"), "registry = 5").unwrap_err();
    assert!(error.render(Paint::OFF).contains("registry = 5"), "{}", error.render(Paint::OFF));
    let error = File::parse(Path::new("callsign.toml"), "registry = ").unwrap_err();
    assert!(error.render(Paint::OFF).contains("line 1"), "{}", error.render(Paint::OFF));
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_an_unnamed_one_is_not() {
    let error =
        Settings::load(&Flags::default(), &env([("CALLSIGN_CONFIG", "/nowhere/x.toml")])).unwrap_err();
    assert!(error.render(Paint::OFF).contains("/nowhere/x.toml"));
    settings(&Flags::default(), &env([("HOME", "/nowhere")]));
}
