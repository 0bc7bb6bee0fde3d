//! Settings, read once: a flag beats `CALLSIGN_*`, which beats `MICRO_*`, which beats `callsign.toml`, which beats what is
//! built in.
//!
//! Each value remembers where it came from, so that an error about it can name the place to change.

mod access;
mod env;
mod file;
mod registry;
mod tls;

use std::{fmt, path::PathBuf, time::Duration};

use callsign::core::Domain;

pub(crate) use self::access::{AccessSettings, Secret};
pub(crate) use self::env::Env;
use self::file::File;
pub(crate) use self::registry::{open_registry, registry_url};
pub(crate) use self::tls::TlsSettings;
use crate::{
    error::{CliError, Result},
    output::{ColorChoice, Format},
    suggest, units,
};

/// The flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Flags {
    /// The registry's kind or URL [default: local]
    ///
    /// Like `local`, `local:///run/shop` or `etcd://10.0.0.5:2379`. [env: CALLSIGN_REGISTRY, MICRO_REGISTRY]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// The registry's address, when --registry gives its kind only
    ///
    /// [env: CALLSIGN_REGISTRY_ADDRESS, MICRO_REGISTRY_ADDRESS]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) registry_address: Option<String>,
    /// The user to be for the registry; the password is never a flag
    ///
    /// [env: CALLSIGN_REGISTRY_USERNAME, ETCD_USERNAME; the password: CALLSIGN_REGISTRY_PASSWORD, ETCD_PASSWORD]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) registry_username: Option<String>,
    /// The authorities to trust the registry by, in PEM; asks for TLS
    ///
    /// [env: CALLSIGN_REGISTRY_CA]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) registry_ca: Option<String>,
    /// The certificate to show to the registry, in PEM; asks for TLS
    ///
    /// [env: CALLSIGN_REGISTRY_CERT]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) registry_cert: Option<String>,
    /// The key of that certificate, in PEM
    ///
    /// [env: CALLSIGN_REGISTRY_KEY]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) registry_key: Option<String>,
    /// Speak TLS to all nodes, not only to those that publish it
    ///
    /// By the authorities of this system, unless --tls-ca is given. [env: CALLSIGN_TLS=on, or =published]
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) tls: bool,
    /// The authorities to trust nodes by, in PEM; asks for TLS
    ///
    /// [env: CALLSIGN_TLS_CA]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) tls_ca: Option<String>,
    /// The certificate to show to nodes, in PEM; asks for TLS
    ///
    /// [env: CALLSIGN_TLS_CERT]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) tls_cert: Option<String>,
    /// The key of that certificate, in PEM
    ///
    /// [env: CALLSIGN_TLS_KEY]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) tls_key: Option<String>,
    /// The name that nodes' certificates must hold, if not their host or address; asks for TLS
    ///
    /// [env: CALLSIGN_TLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) tls_server_name: Option<String>,
    /// The namespace of services [default: micro]
    ///
    /// Where something is read, `*` stands for all. [env: CALLSIGN_DOMAIN]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// How data is written [default: table]
    ///
    /// [env: CALLSIGN_OUTPUT]
    #[arg(long, short, global = true, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,
    /// When to use colours [default: auto]
    ///
    /// [env: CALLSIGN_COLOR, NO_COLOR]
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    pub(crate) color: Option<ColorChoice>,
    /// The file of settings
    ///
    /// By default ./callsign.toml, or else callsign.toml in the user's configuration folder. [env: CALLSIGN_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Say what goes on inside; -vv says more
    ///
    /// [env: CALLSIGN_LOG]
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What is in force.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) registry: Setting<String>,
    pub(crate) registry_address: Option<Setting<String>>,
    pub(crate) access: AccessSettings,
    /// What clients want to be shown by those who read their metrics.
    pub(crate) metrics_token: Option<Secret>,
    /// What nodes want to be shown by those who drain them.
    pub(crate) operator_token: Option<Secret>,
    pub(crate) tls: TlsSettings,
    pub(crate) domain: Domain,
    pub(crate) output: Option<Format>,
    pub(crate) color: ColorChoice,
    pub(crate) timeout: Option<Duration>,
    /// `NO_COLOR`, or a terminal that knows no colours.
    pub(crate) colorless: bool,
    /// Where the shell looks for programs.
    path: String,
    /// What to log, in the language of tracing's filters.
    pub(crate) log: String,
}

/// A value and the place it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Env(&'static str),
    File(PathBuf),
    BuiltIn,
}

/// One setting's names in each place.
struct Names {
    flag: &'static str,
    env: &'static [&'static str],
    key: &'static str,
}

const REGISTRY: Names =
    Names { flag: "--registry", env: &["CALLSIGN_REGISTRY", "MICRO_REGISTRY"], key: "registry" };
const REGISTRY_ADDRESS: Names = Names {
    flag: "--registry-address",
    env: &["CALLSIGN_REGISTRY_ADDRESS", "MICRO_REGISTRY_ADDRESS"],
    key: "registry_address",
};
const REGISTRY_USERNAME: Names = Names {
    flag: "--registry-username",
    env: &["CALLSIGN_REGISTRY_USERNAME", "ETCD_USERNAME"],
    key: "registry_username",
};
const REGISTRY_PASSWORD: Names = Names {
    // There is no such flag: the arguments of a process are open to everybody on its machine.
    flag: "",
    env: &["CALLSIGN_REGISTRY_PASSWORD", "ETCD_PASSWORD"],
    key: "registry_password",
};
const REGISTRY_CA: Names =
    Names { flag: "--registry-ca", env: &["CALLSIGN_REGISTRY_CA"], key: "registry_ca" };
const REGISTRY_CERT: Names =
    Names { flag: "--registry-cert", env: &["CALLSIGN_REGISTRY_CERT"], key: "registry_cert" };
const REGISTRY_KEY: Names =
    Names { flag: "--registry-key", env: &["CALLSIGN_REGISTRY_KEY"], key: "registry_key" };
const TLS: Names = Names { flag: "--tls", env: &["CALLSIGN_TLS"], key: "tls" };
const TLS_CA: Names = Names { flag: "--tls-ca", env: &["CALLSIGN_TLS_CA"], key: "tls_ca" };
const TLS_CERT: Names = Names { flag: "--tls-cert", env: &["CALLSIGN_TLS_CERT"], key: "tls_cert" };
const TLS_KEY: Names = Names { flag: "--tls-key", env: &["CALLSIGN_TLS_KEY"], key: "tls_key" };
const TLS_SERVER_NAME: Names =
    Names { flag: "--tls-server-name", env: &["CALLSIGN_TLS_SERVER_NAME"], key: "tls_server_name" };
const DOMAIN: Names = Names { flag: "--domain", env: &["CALLSIGN_DOMAIN"], key: "domain" };
const OUTPUT: Names = Names { flag: "--output", env: &["CALLSIGN_OUTPUT"], key: "output" };
const COLOR: Names = Names { flag: "--color", env: &["CALLSIGN_COLOR"], key: "color" };
const TIMEOUT: Names =
    Names { flag: "--timeout", env: &["CALLSIGN_TIMEOUT", "MICRO_CLIENT_REQUEST_TIMEOUT"], key: "timeout" };

// === impl Settings ===

impl Settings {
    /// Puts the settings together.
    ///
    /// # Errors
    ///
    /// A value or a file that makes no sense, with the place it was set.
    pub(crate) fn load(flags: &Flags, env: &Env) -> Result<Self> {
        let file = File::find(flags.config.as_deref(), env)?;
        let look = |flag: Option<String>, names: &Names| look(flag, names, env, &file);
        let registry = look(flags.registry.clone(), &REGISTRY);
        let output = match flags.output {
            Some(format) => Some(format),
            None => look(None, &OUTPUT).map(choice).transpose()?,
        };
        let color = match flags.color {
            Some(color) => Some(color),
            None => look(None, &COLOR).map(choice).transpose()?,
        };
        Ok(Self {
            registry: registry
                .unwrap_or_else(|| Setting { value: "local".to_owned(), source: Source::BuiltIn }),
            registry_address: look(flags.registry_address.clone(), &REGISTRY_ADDRESS),
            access: AccessSettings {
                username: look(flags.registry_username.clone(), &REGISTRY_USERNAME),
                password: look(None, &REGISTRY_PASSWORD),
                ca: look(flags.registry_ca.clone(), &REGISTRY_CA),
                cert: look(flags.registry_cert.clone(), &REGISTRY_CERT),
                key: look(flags.registry_key.clone(), &REGISTRY_KEY),
            },
            metrics_token: env.get("CALLSIGN_METRICS_TOKEN").map(Secret::new),
            operator_token: env.get("CALLSIGN_OPERATOR_TOKEN").map(Secret::new),
            tls: TlsSettings {
                to: look(flags.tls.then(|| "on".to_owned()), &TLS),
                ca: look(flags.tls_ca.clone(), &TLS_CA),
                cert: look(flags.tls_cert.clone(), &TLS_CERT),
                key: look(flags.tls_key.clone(), &TLS_KEY),
                server_name: look(flags.tls_server_name.clone(), &TLS_SERVER_NAME),
            },
            domain: match look(flags.domain.clone(), &DOMAIN) {
                Some(set) => Domain::new(&set.value).map_err(|error| set.blame(error.into()))?,
                None => Domain::default(),
            },
            output,
            color: color.unwrap_or(ColorChoice::Auto),
            timeout: look(None, &TIMEOUT).map(duration).transpose()?,
            path: env.get("PATH").unwrap_or_default().to_owned(),
            colorless: env.get("NO_COLOR").is_some() || env.get("TERM") == Some("dumb"),
            log: match (flags.verbose, env.get("CALLSIGN_LOG")) {
                (0, Some(filter)) => filter.to_owned(),
                (0, None) => "error".to_owned(),
                (1, _) => "callsign=info,warn".to_owned(),
                (2, _) => "callsign=debug,info".to_owned(),
                (_, _) => "trace".to_owned(),
            },
        })
    }
}

impl Settings {
    /// What to write in a shell to run this program: its name where the shell finds it, else its path.
    pub(crate) fn name_for_shell(&self) -> String {
        let Ok(program) = std::env::current_exe() else { return "callsign".to_owned() };
        let same = |found: &PathBuf| found.canonicalize().is_ok_and(|found| found == program);
        let named = self.find_program("callsign");
        if named.as_ref().is_some_and(same) {
            return "callsign".to_owned();
        }
        let here = std::env::current_dir().unwrap_or_default();
        match program.strip_prefix(&here) {
            Ok(relative) => relative.display().to_string(),
            Err(_) => program.display().to_string(),
        }
    }

    /// Where the shell finds a program.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|dir| dir.join(name)).find(|file| file.is_file())
    }
}

// === impl Setting ===

impl<T> Setting<T> {
    /// Adds to an error where the value was set, unless it was on the command line for all to see.
    pub(crate) fn blame(&self, error: CliError) -> CliError {
        match &self.source {
            Source::Flag(_) | Source::BuiltIn => error,
            source => error.because(format!("it is set by {source}")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn => f.write_str("default"),
        }
    }
}

/// The first place that sets a value.
fn look(flag: Option<String>, names: &Names, env: &Env, file: &File) -> Option<Setting<String>> {
    if let Some(value) = flag {
        return Some(Setting { value, source: Source::Flag(names.flag) });
    }
    for name in names.env {
        if let Some(value) = env.get(name) {
            return Some(Setting { value: value.to_owned(), source: Source::Env(name) });
        }
    }
    let value = file.get(names.key)?.to_owned();
    Some(Setting { value, source: Source::File(file.path().to_owned()) })
}

#[expect(clippy::needless_pass_by_value, reason = "handed to `Option::map`")]
fn choice<T: clap::ValueEnum>(set: Setting<String>) -> Result<T> {
    T::from_str(&set.value, true).map_err(|_| {
        let values: Vec<_> = T::value_variants().iter().filter_map(T::to_possible_value).collect();
        let names = values.iter().map(clap::builder::PossibleValue::get_name);
        let error = CliError::usage(format!(
            "{:?} is none of the choices: {}",
            set.value,
            suggest::enumerate(names.clone())
        ));
        set.blame(match suggest::nearest(&set.value, names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        })
    })
}

#[expect(clippy::needless_pass_by_value, reason = "handed to `Option::map`")]
fn duration(set: Setting<String>) -> Result<Duration> {
    units::parse_duration(&set.value).map_err(|problem| set.blame(CliError::usage(problem)))
}

#[cfg(test)]
mod tests;
