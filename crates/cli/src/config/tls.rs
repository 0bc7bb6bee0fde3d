//! How nodes are spoken to, and by whose word they are trusted.

use callsign::{client::ChannelBuilder, tls::TlsConfig};

use super::{Setting, TLS_CERT, TLS_KEY};
use crate::error::{CliError, Result};

/// The parts, each with the place it was set.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsSettings {
    /// `on` or `published`.
    pub(super) to: Option<Setting<String>>,
    pub(super) ca: Option<Setting<String>>,
    pub(super) cert: Option<Setting<String>>,
    pub(super) key: Option<Setting<String>>,
    pub(super) server_name: Option<Setting<String>>,
}

// === impl TlsSettings ===

impl TlsSettings {
    /// Lets a channel speak as they say. Nothing is changed of it if they say nothing.
    ///
    /// # Errors
    ///
    /// A word that means nothing, one of two files that go together, or a file that is of no use: with the place to look at.
    pub(crate) fn apply(&self, channel: ChannelBuilder) -> Result<ChannelBuilder> {
        let Self { to, ca, cert, key, server_name } = self;
        let always = match to.as_ref().map(|to| (to, to.value.as_str())) {
            Some((_, "on")) => true,
            Some((_, "published")) => false,
            Some((to, other)) => {
                return Err(to.blame(CliError::usage(format!("TLS is {other:?}, not on or published"))));
            }
            None if [ca, cert, key, server_name].into_iter().all(Option::is_none) => return Ok(channel),
            // Whoever says how TLS is to be spoken wants it spoken.
            None => true,
        };
        let mut tls = TlsConfig::builder();
        if let Some(ca) = ca {
            tls = tls.roots_file(&ca.value);
        }
        match (cert, key) {
            (Some(cert), Some(key)) => tls = tls.identity_files(&cert.value, &key.value),
            (Some(there), None) => return Err(half(there, "a certificate", "its key", TLS_KEY.flag)),
            (None, Some(there)) => return Err(half(there, "a key", "its certificate", TLS_CERT.flag)),
            (None, None) => {}
        }
        if let Some(name) = server_name {
            tls = tls.server_name(&name.value);
        }
        let tls = tls.build().map_err(|error| {
            let error = CliError::usage("TLS cannot be set up").because_of(&error);
            let places = [ca, cert, key, server_name].into_iter().flatten();
            places.fold(error, |error, place| place.blame(error))
        })?;
        Ok(if always { channel.tls(tls) } else { channel.tls_as_published(tls) })
    }
}

/// One of two values that mean nothing without each other.
fn half(there: &Setting<String>, what: &str, missing: &str, flag: &str) -> CliError {
    let error = CliError::usage(format!("there is {what} to show to nodes and not {missing}"));
    there.blame(error).hint(format!("give {missing} by {flag}"))
}

#[cfg(test)]
mod tests {
    use callsign::Channel;

    use super::{super::Source, *};
    use crate::output::Paint;

    fn set(value: &str) -> Option<Setting<String>> {
        Some(Setting { value: value.to_owned(), source: Source::Env("CALLSIGN_TLS") })
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (settings, said) in [
            (TlsSettings { to: set("off"), ..TlsSettings::default() }, "not on or published"),
            (TlsSettings { cert: set("me.pem"), ..TlsSettings::default() }, "give its key by --tls-key"),
            (TlsSettings { key: set("me.key"), ..TlsSettings::default() }, "by --tls-cert"),
            (TlsSettings { ca: set("/nowhere.pem"), ..TlsSettings::default() }, "/nowhere.pem"),
        ] {
            let error = settings.apply(Channel::builder("greeter")).unwrap_err().render(Paint::OFF);
            assert!(error.contains(said) && error.contains("CALLSIGN_TLS"), "{error}");
        }
        assert!(TlsSettings::default().apply(Channel::builder("greeter")).is_ok());
    }
}
