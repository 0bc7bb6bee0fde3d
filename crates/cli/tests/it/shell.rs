//! What belongs to no command in particular: settings, bad input, colours, help, completions, the manual.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use crate::harness::World;

/// All that a person may run.
const COMMANDS: [&str; 12] = [
    "demo",
    "ls",
    "describe",
    "watch",
    "call",
    "explain",
    "drain",
    "undrain",
    "rollout",
    "register",
    "completions",
    "man",
];

#[test]
fn settings_are_taken_from_the_strongest_place() {
    let world = World::new();
    fs::write(world.path().join("callsign.toml"), "output = \"json\"\n").unwrap();
    assert_eq!(world.run(&["ls"]).stdout, "[]\n");
    assert_eq!(world.run(&["ls", "-o", "name"]).stdout, "");
    let ran = world.finish(world.command(&["ls"]).env("CALLSIGN_OUTPUT", "name"));
    assert_eq!((ran.stdout.as_str(), ran.code), ("", Some(0)));
}

#[test]
fn a_setting_that_makes_no_sense_is_told_with_its_place() {
    let world = World::new();
    let ran = world.finish(world.command(&["ls"]).env("CALLSIGN_OUTPUT", "jsn"));
    ran.fails(2, &["\"jsn\" is none of the choices", "CALLSIGN_OUTPUT", "did you mean `json`?"]);
    let ran = world.finish(world.command(&["ls"]).env("MICRO_REGISTRY", "ectd"));
    ran.fails(2, &["no registry called", "MICRO_REGISTRY", "did you mean `etcd`?"]);
    fs::write(world.path().join("callsign.toml"), "regstry = \"local\"\n").unwrap();
    world.run(&["ls"]).fails(2, &["callsign.toml", "no setting `regstry`", "did you mean `registry`?"]);
}

#[test]
fn unknown_unavailable_and_malformed_registries_are_told_apart() {
    let world = World::new();
    world
        .run(&["ls", "--registry", "locl"])
        .fails(2, &["no registry called \"locl\"", "did you mean `local`?"]);
    world.run(&["ls", "--registry", "consul://a:1"]).fails(2, &["consul", "not available"]);
    world.run(&["ls", "--registry", "local://run/x"]).fails(2, &["local:///run/x"]);
}

#[test]
fn a_registry_folder_that_is_not_ours_is_refused_with_a_way_out() {
    let world = World::new();
    let folder = world.path().join("open");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let ran = world.run(&["ls", "--registry", &format!("local://{}", folder.display())]);
    ran.fails(7, &["[WORLD]/open", "hint: "]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_registry_that_is_nowhere_ends_with_3() {
    World::new().run(&["ls", "--registry", "local:///proc/x"]).fails(3, &["/proc/x", "because: "]);
}

#[test]
fn a_foreign_file_among_the_entries_is_counted_and_the_rest_is_shown() {
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    let mut entries: Vec<_> = Vec::new();
    collect(&world.registry(), &mut entries);
    let entry = entries.iter().find(|path| path.to_string_lossy().contains("greeter-1")).unwrap();
    let name = entry.file_name().unwrap().to_string_lossy().replace("greeter-1", "greeter-9");
    fs::write(entry.with_file_name(name), "not an entry").unwrap();
    let ran = world.run(&["ls", "nodes", "-o", "name"]);
    assert_eq!((ran.stdout.as_str(), ran.code), ("greeter/greeter-1\n", Some(0)), "{}", ran.stderr);
}

fn collect(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

#[test]
fn names_addresses_weights_and_metadata_that_cannot_be_are_told() {
    let world = World::new();
    let register = |args: &[&str]| {
        let mut all = vec!["register"];
        all.extend(args);
        all.extend(["--", "true"]);
        world.run(&all)
    };
    let long = "x".repeat(201);
    let big = format!("k={}", "v".repeat(4097));
    for (args, said) in [
        (&["", "--address", "127.0.0.1:1"][..], "not a service name: it is empty"),
        (&[" web", "--address", "127.0.0.1:1"], "begins or ends with white space"),
        (&[&long, "--address", "127.0.0.1:1"], "201 bytes"),
        (&["web", "--address", "127.0.0.1:1", "--id", "a\nb"], "not a node id"),
        (&["web", "--address", "127.0.0.1"], "there is no port"),
        (&["web", "--address", "127.0.0.1:0"], "port 0"),
        (&["web", "--address", "127.0.0.1:70000"], "not a number from 1 to 65535"),
        (&["web", "--address", "http://a:1"], "slash"),
        (&["web", "--address", "127.0.0.1:1", "--weight", "65536"], "not a whole number from 0 to 65535"),
        (&["web", "--address", "127.0.0.1:1", "--weight=-1"], "not a whole number from 0 to 65535"),
        (&["web", "--address", "127.0.0.1:1", "--weight", "NaN"], "not a whole number from 0 to 65535"),
        (&["web", "--address", "127.0.0.1:1", "--metadata", "k"], "\"k\" has no value"),
        (&["web", "--address", "127.0.0.1:1", "--metadata", "=v"], "an empty key"),
        (&["web", "--address", "127.0.0.1:1", "--metadata", &big], "4097 bytes under k"),
        (&["web", "--address", "127.0.0.1:1", "--domain", "*"], "stands for all"),
        (&["web", "--address", "127.0.0.1:1", "--ttl", "5"], "the unit is missing"),
    ] {
        register(args).fails(2, &[said]);
    }
    world.run(&["describe", ""]).fails(2, &["not a service name: it is empty"]);
    world.run(&["watch", "a\nb"]).fails(2, &["control character"]);
}

#[test]
fn colours_are_there_when_asked_for_and_gone_with_no_color() {
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    assert!(world.run(&["ls", "--color", "always"]).stdout.contains("\x1b[1m"));
    assert!(!world.run(&["ls"]).stdout.contains('\x1b'));
    assert!(world.run(&["describe", "x", "--color", "always"]).stderr.contains("\x1b[1;31merror:"));
    let ran = world.finish(world.command(&["ls", "--color", "auto"]).env("NO_COLOR", "1"));
    assert!(!ran.stdout.contains('\x1b'));
}

#[test]
fn a_reader_that_has_seen_enough_ends_every_command_quietly() {
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    for args in [
        &["ls"][..],
        &["ls", "nodes", "-o", "json"],
        &["describe", "greeter"],
        &["watch"],
        &["call", "greeter", "Greeter.Repeat", "--name", "x", "--times", "1000", "-q"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["demo", "--plain"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = world.command(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let world = World::new();
    world.run(&["lss"]).fails(2, &["unrecognized subcommand 'lss'", "similar subcommand exists: 'ls'"]);
    world.run(&["ls", "-o", "jsn"]).fails(2, &["invalid value 'jsn'", "'json'"]);
    world.run(&["demo", "--duration", "1s"]).fails(2, &["at least 4.00 s"]);
    world.run(&["man", "cal"]).fails(2, &["no command cal", "did you mean `call`?"]);
    let help = world.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("Exit codes:"));
    for command in COMMANDS {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}");
    }
    assert!(!help.stdout.contains("demo-node"));
    assert_eq!(world.run(&["--version"]).stdout, format!("callsign {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_gets_its_completions_and_every_command_its_page() {
    let world = World::new();
    for (shell, said) in [
        ("bash", "_callsign()"),
        ("zsh", "#compdef callsign"),
        ("fish", "complete -c callsign"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let ran = world.run(&["completions", shell]);
        assert!(ran.stdout.contains(said), "{shell}");
    }
    assert!(world.run(&["man"]).stdout.contains(".TH callsign 1"));
    for command in COMMANDS {
        let page = world.run(&["man", command]).stdout;
        assert!(page.contains(&format!(".TH callsign-{command} 1")), "{command}");
    }
}
