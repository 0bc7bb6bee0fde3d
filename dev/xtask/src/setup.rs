//! What the tests need beside a Rust toolchain, and how it comes onto a machine.
//!
//! Each need says how to see that it is there and which Debian packages bring it. Nothing here ever asks a question: where
//! the rights to install are missing, the command to run is printed and the chore ends.

use crate::{
    Result,
    shell::{Step, is_there},
};

/// Something that must be on the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// What people call it.
    name: &'static str,
    /// Which test or step is lost without it.
    why: &'static str,
    /// Any one of these programs on the path will do.
    programs: &'static [&'static str],
    /// What brings it on Debian and its descendants.
    debian: &'static [&'static str],
}

/// What `cargo xtask test` needs.
pub(crate) const FOR_TESTS: &[Need] = &[
    Need {
        name: "a C compiler",
        why: "rustc links with it",
        programs: &["cc"],
        debian: &["gcc", "libc6-dev"],
    },
    Need {
        name: "etcd",
        why: "its registry is tested on a real one",
        programs: &["etcd"],
        debian: &["etcd-server"],
    },
    Need {
        name: "iproute2",
        why: "mDNS is tested on hosts with cables of their own",
        programs: &["ip"],
        debian: &["iproute2"],
    },
    Need { name: "util-linux", why: "it makes those hosts", programs: &["unshare"], debian: &["util-linux"] },
    Need { name: "bash", why: "the README's shell blocks run in it", programs: &["bash"], debian: &["bash"] },
];

/// Installs what is missing of `needs`.
///
/// # Errors
///
/// With the command to run by hand, when something is missing that we may not or cannot install.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = missing(needs, is_there);
    if missing.is_empty() {
        return Ok(());
    }
    let install = install_step(&missing);
    let whats: Vec<_> = missing.iter().map(|need| format!("{} ({})", need.name, need.why)).collect();
    eprintln!("xtask: missing: {}", whats.join(", "));
    if !is_there("apt-get") || !may_install() {
        return Err(format!("install it, then run this again; on Debian: {}", install.line()).into());
    }
    if !install.run()? {
        return Err(format!("`{}` failed; `apt-get update` may help", install.line()).into());
    }
    match self::missing(needs, is_there).first() {
        None => Ok(()),
        Some(need) => {
            Err(format!("{} is still missing after installing {:?}", need.name, need.debian).into())
        }
    }
}

/// Whether this user may make network namespaces, as root may almost everywhere.
pub(crate) fn may_make_namespaces() -> bool {
    Step::new("unshare", &["--net", "true"]).output().is_ok()
}

/// Says of each need whether it is there.
pub(crate) fn explain(needs: &[Need]) {
    for need in needs {
        let state = if need.programs.iter().any(|program| is_there(program)) { "there" } else { "missing" };
        println!("needs {}: {state} ({})", need.name, need.why);
    }
}

fn missing(needs: &[Need], is_there: impl Fn(&str) -> bool) -> Vec<Need> {
    needs.iter().filter(|need| !need.programs.iter().any(|program| is_there(program))).copied().collect()
}

fn install_step(missing: &[Need]) -> Step {
    let mut args = vec!["apt-get", "install", "--yes", "--no-install-recommends"];
    args.extend(missing.iter().flat_map(|need| need.debian));
    let step = if is_root() { Step::new(args[0], &args[1..]) } else { Step::new("sudo", &args) };
    step.env("DEBIAN_FRONTEND", "noninteractive")
}

/// Root may; so may whoever has sudo without a password.
fn may_install() -> bool {
    is_root() || is_there("sudo") && Step::new("sudo", &["--non-interactive", "true"]).output().is_ok()
}

fn is_root() -> bool {
    Step::new("id", &["-u"]).output().is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: &[Need] = &[
        Need { name: "one", why: "", programs: &["one", "uno"], debian: &["p-one"] },
        Need { name: "two", why: "", programs: &["two"], debian: &["p-two", "p-two-dev"] },
    ];

    #[test]
    fn any_one_of_the_programs_will_do() {
        let names = |there: &[&str]| -> Vec<_> {
            missing(NEEDS, |program| there.contains(&program)).iter().map(|need| need.name).collect()
        };
        assert_eq!(names(&["uno"]), ["two"]);
        assert_eq!(names(&[]), ["one", "two"]);
        assert!(names(&["one", "two"]).is_empty());
    }

    #[test]
    fn the_install_command_asks_nothing_and_names_every_package() {
        let line = install_step(NEEDS).line();
        assert!(line.contains("apt-get install --yes"), "{line}");
        assert!(line.ends_with("p-one p-two p-two-dev"), "{line}");
        assert!(line.starts_with("DEBIAN_FRONTEND=noninteractive"), "{line}");
    }

    #[test]
    fn what_cargo_itself_could_not_do_without_is_there() {
        ensure(&FOR_TESTS[..1]).unwrap();
    }
}
