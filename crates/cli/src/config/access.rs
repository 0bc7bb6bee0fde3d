//! As whom a registry is asked, and by whose word it is trusted.

use std::fmt;

use callsign::registry::Access;

use super::{REGISTRY_CA, REGISTRY_CERT, REGISTRY_KEY, REGISTRY_PASSWORD, REGISTRY_USERNAME, Setting};
use crate::error::{CliError, Result};

/// The parts, each with the place it was set.
#[derive(Clone, Default)]
pub(crate) struct AccessSettings {
    pub(super) username: Option<Setting<String>>,
    pub(super) password: Option<Setting<String>>,
    pub(super) ca: Option<Setting<String>>,
    pub(super) cert: Option<Setting<String>>,
    pub(super) key: Option<Setting<String>>,
}

/// What is not to be shown by chance.
#[derive(Clone)]
pub(crate) struct Secret(String);

// === impl AccessSettings ===

impl AccessSettings {
    /// Puts them together.
    ///
    /// # Errors
    ///
    /// A user without a password, a certificate without its key, or either the other way round: with the place to look at.
    pub(super) fn access(&self) -> Result<Access> {
        let Self { username, password, ca, cert, key } = self;
        let mut access = Access::new();
        match (username, password) {
            (Some(username), Some(password)) => {
                access = access
                    .with_password(&username.value, &password.value)
                    .map_err(|error| username.blame(error.into()))?;
            }
            (Some(there), None) => return Err(half(there, "a user", "a password", REGISTRY_PASSWORD.env)),
            (None, Some(there)) => return Err(half(there, "a password", "a user", REGISTRY_USERNAME.env)),
            (None, None) => {}
        }
        match (cert, key) {
            (Some(cert), Some(key)) => access = access.with_identity_files(&cert.value, &key.value),
            (Some(there), None) => return Err(half(there, "a certificate", "its key", &[REGISTRY_KEY.flag])),
            (None, Some(there)) => {
                return Err(half(there, "a key", "its certificate", &[REGISTRY_CERT.flag]));
            }
            (None, None) => {}
        }
        Ok(match ca {
            Some(ca) => access.with_ca_file(&ca.value),
            None => access,
        })
    }

    /// The variables that hand all of it on to a process of ours.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        let Self { username, password, ca, cert, key } = self;
        let all = [
            (username, &REGISTRY_USERNAME),
            (password, &REGISTRY_PASSWORD),
            (ca, &REGISTRY_CA),
            (cert, &REGISTRY_CERT),
            (key, &REGISTRY_KEY),
        ];
        all.into_iter()
            .filter_map(|(setting, names)| Some((*names.env.first()?, setting.as_ref()?.value.as_str())))
            .collect()
    }
}

/// Values stay out of logs, and a password most of all.
impl fmt::Debug for AccessSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessSettings")
    }
}

/// One of two values that mean nothing without each other.
fn half(there: &Setting<String>, what: &str, missing: &str, where_to: &[&str]) -> CliError {
    let error = CliError::usage(format!("there is {what} for the registry and not {missing}"));
    there.blame(error).hint(format!("give {missing} by {}", where_to.join(" or ")))
}

// === impl Secret ===

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be sent to whom it is for.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Source, *};
    use crate::output::Paint;

    fn set(value: &str) -> Option<Setting<String>> {
        Some(Setting { value: value.to_owned(), source: Source::Env("ETCD_USERNAME") })
    }

    #[test]
    fn half_of_a_pair_is_an_error_that_says_how_to_give_the_other() {
        let error =
            AccessSettings { username: set("shop"), ..AccessSettings::default() }.access().unwrap_err();
        assert_eq!(
            error.render(Paint::OFF),
            "error: there is a user for the registry and not a password\n  \
             because: it is set by the environment variable ETCD_USERNAME\n  \
             hint: give a password by CALLSIGN_REGISTRY_PASSWORD or ETCD_PASSWORD\n"
        );
        let error = AccessSettings { cert: set("me.pem"), ..AccessSettings::default() }.access().unwrap_err();
        assert!(error.render(Paint::OFF).contains("give its key by --registry-key"));
    }

    #[test]
    fn what_is_set_is_handed_on_by_our_own_variables() {
        let settings = AccessSettings {
            username: set("shop"),
            password: set("s3cret"),
            ca: set("ca.pem"),
            ..Default::default()
        };
        assert_eq!(
            settings.variables(),
            [
                ("CALLSIGN_REGISTRY_USERNAME", "shop"),
                ("CALLSIGN_REGISTRY_PASSWORD", "s3cret"),
                ("CALLSIGN_REGISTRY_CA", "ca.pem")
            ]
        );
        let access = settings.access().unwrap();
        assert_eq!(access.user(), Some(("shop", "s3cret")));
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
