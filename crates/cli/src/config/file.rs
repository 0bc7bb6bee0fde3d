//! `callsign.toml`: settings for a project or a user.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Env, Source};
use crate::{
    error::{CliError, Result},
    suggest,
};

/// The file's name in the working directory and in the user's configuration folder.
const NAME: &str = "callsign.toml";

/// A file of settings, or none.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    keys: Keys,
}

/// Every key there is; one that is not here is an error, for a setting that is ignored in silence is worse than none.
#[derive(Debug, Default, Deserialize)]
struct Keys {
    registry: Option<String>,
    registry_address: Option<String>,
    registry_username: Option<String>,
    registry_password: Option<String>,
    registry_ca: Option<String>,
    registry_cert: Option<String>,
    registry_key: Option<String>,
    domain: Option<String>,
    output: Option<String>,
    color: Option<String>,
    timeout: Option<String>,
    tls: Option<String>,
    tls_ca: Option<String>,
    tls_cert: Option<String>,
    tls_key: Option<String>,
    tls_server_name: Option<String>,
}

const KEYS: [&str; 16] = [
    "registry",
    "registry_address",
    "registry_username",
    "registry_password",
    "registry_ca",
    "registry_cert",
    "registry_key",
    "domain",
    "output",
    "color",
    "timeout",
    "tls",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "tls_server_name",
];

// === impl File ===

impl File {
    /// Reads the file named by a flag or the environment, which must be there; else the first of those that may be.
    pub(super) fn find(flag: Option<&Path>, env: &Env) -> Result<Self> {
        let named = match (flag, env.get("CALLSIGN_CONFIG")) {
            (Some(path), _) => Some((path.to_owned(), Source::Flag("--config"))),
            (None, Some(path)) => Some((path.into(), Source::Env("CALLSIGN_CONFIG"))),
            (None, None) => None,
        };
        if let Some((path, source)) = named {
            return Self::read(&path)?.ok_or_else(|| {
                CliError::usage(format!("there is no file {}, which {source} names", path.display()))
            });
        }
        let user = env.config_dir().map(|dir| dir.join(NAME));
        for path in [Some(PathBuf::from(NAME)), user].into_iter().flatten() {
            if let Some(file) = Self::read(&path)? {
                return Ok(file);
            }
        }
        Ok(Self::default())
    }

    /// Where it was found.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A setting.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let Keys {
            registry,
            registry_address,
            registry_username,
            registry_password,
            registry_ca,
            registry_cert,
            registry_key,
            domain,
            output,
            color,
            timeout,
            tls,
            tls_ca,
            tls_cert,
            tls_key,
            tls_server_name,
        } = &self.keys;
        let value = match key {
            "registry" => registry,
            "registry_address" => registry_address,
            "registry_username" => registry_username,
            "registry_password" => registry_password,
            "registry_ca" => registry_ca,
            "registry_cert" => registry_cert,
            "registry_key" => registry_key,
            "domain" => domain,
            "tls" => tls,
            "tls_ca" => tls_ca,
            "tls_cert" => tls_cert,
            "tls_key" => tls_key,
            "tls_server_name" => tls_server_name,
            "output" => output,
            "color" => color,
            "timeout" => timeout,
            _ => unreachable!("no setting is called {key}"),
        };
        value.as_deref()
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let message = format!("cannot read the settings in {}", path.display());
                return Err(CliError::usage(message).because_of(&error));
            }
        };
        Self::parse(path, &text).map(Some)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self> {
        let wrong = || CliError::usage(format!("the settings in {} make no sense", path.display()));
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| wrong().because(error.to_string().trim_end()))?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let error = wrong().because(format!(
                "there is no setting `{unknown}`; the settings are {}",
                suggest::enumerate(KEYS)
            ));
            return Err(match suggest::nearest(unknown, KEYS) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        // Read a second time for the line of a value of the wrong type.
        let keys = toml::from_str(text)
            .map_err(|error: toml::de::Error| wrong().because(error.to_string().trim_end()))?;
        Ok(Self { path: path.to_owned(), keys })
    }
}
