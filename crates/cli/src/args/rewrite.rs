//! `callsign call greeter Greeter.Hello --name World`: options that are none of ours are fields of the body.
//!
//! clap cannot know the fields of a service that it has not met, so they are rewritten before it looks:
//! `--name World` becomes `--field name=World`.

use std::{collections::BTreeMap, ffi::OsString};

use clap::ArgAction;

/// Rewrites the unknown long options of `callsign call`; all other command lines come back as they are.
pub(crate) fn fields_to_flags(command: &clap::Command, args: Vec<OsString>) -> Vec<OsString> {
    let Some(known) = known_options(command) else { return args };
    let mut rest = args.into_iter().peekable();
    let mut out: Vec<OsString> = rest.next().into_iter().collect();
    let mut in_call = false;
    while let Some(arg) = rest.next() {
        let Some(text) = arg.to_str() else {
            out.push(arg);
            continue;
        };
        if text == "--" {
            out.push(arg);
            out.extend(rest);
            return out;
        }
        let Some(option) = text.strip_prefix("--") else {
            if !in_call && text.len() == 2 && text.starts_with('-') && takes_value(&known, text) {
                out.push(arg);
                out.extend(rest.next());
                continue;
            }
            if !in_call && !text.starts_with('-') {
                if text != "call" {
                    out.push(arg);
                    out.extend(rest);
                    return out;
                }
                in_call = true;
            }
            out.push(arg);
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        // `--version` is an option of the whole program only; after `call` it may well be a field.
        let option = if in_call && name == "version" { None } else { known.get(&format!("--{name}")) };
        match option {
            Some(takes_value) => {
                let wants_next = *takes_value && value.is_none();
                out.push(arg);
                if wants_next {
                    out.extend(rest.next());
                }
            }
            None if !in_call => out.push(arg),
            None => {
                let value = value.unwrap_or_else(|| {
                    let next = rest.next_if(|next| next.to_str().is_some_and(is_value));
                    next.and_then(|next| next.into_string().ok()).unwrap_or_else(|| "true".to_owned())
                });
                out.push(OsString::from("--field"));
                out.push(OsString::from(format!("{name}={value}")));
            }
        }
    }
    out
}

/// A field's value may be a negative number; anything else with a dash is the next option, and the field is a switch.
fn is_value(text: &str) -> bool {
    !text.starts_with('-') || text.parse::<f64>().is_ok()
}

/// The options of `call` as written, and whether each takes a value.
fn known_options(command: &clap::Command) -> Option<BTreeMap<String, bool>> {
    let call = command.find_subcommand("call")?;
    let mut known = BTreeMap::from([("--help".to_owned(), false), ("--version".to_owned(), false)]);
    for arg in command.get_arguments().chain(call.get_arguments()) {
        let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        known.extend(arg.get_long().map(|long| (format!("--{long}"), takes_value)));
        known.extend(arg.get_short().map(|short| (format!("-{short}"), takes_value)));
    }
    Some(known)
}

fn takes_value(known: &BTreeMap<String, bool>, option: &str) -> bool {
    known.get(option).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn rewritten(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let words = fields_to_flags(&crate::args::Cli::command(), args);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_that_are_not_ours_become_fields() {
        assert_eq!(
            rewritten("callsign call greeter Greeter.Hello --name World --timeout 1s --loud --n=-5 --at -3"),
            "callsign call greeter Greeter.Hello --field name=World --timeout 1s --field loud=true --field n=-5 --field at=-3"
        );
        assert_eq!(
            rewritten("callsign -o json --registry local call g M --x y -d {}"),
            "callsign -o json --registry local call g M --field x=y -d {}"
        );
        assert_eq!(rewritten("callsign call g M --version 2"), "callsign call g M --field version=2");
    }

    #[test]
    fn other_commands_and_what_follows_two_dashes_are_left_alone() {
        for line in [
            "callsign ls --naem x",
            "callsign register call --address :1 -- program --call --x",
            "callsign call g M -- --x",
            "callsign --help",
            "callsign",
        ] {
            assert_eq!(rewritten(line), line);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_was_written_is_lost(words in proptest::collection::vec("-{0,2}(call|ls|name|data|d|x|=|a=b|-1|[a-z]{0,3})", 0..8)) {
            let args: Vec<OsString> = std::iter::once("callsign").chain(words.iter().map(String::as_str)).map(OsString::from).collect();
            let rewritten = fields_to_flags(&crate::args::Cli::command(), args);
            let text = rewritten.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
            for word in &words {
                let word = word.trim_start_matches("--");
                proptest::prop_assert!(text.contains(word), "{word:?} is not in {text:?}");
            }
        }
    }
}
