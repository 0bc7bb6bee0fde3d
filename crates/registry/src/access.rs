//! Who asks a registry, and whom they trust: what opening one takes beside its address.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use callsign_core::error::{Error, Result};

const OP: &str = "read the access to the registry";

/// The variables of each part, the stronger first. The `ETCD_` ones are those that go-micro reads.
const USERNAME: [&str; 2] = ["CALLSIGN_REGISTRY_USERNAME", "ETCD_USERNAME"];
const PASSWORD: [&str; 2] = ["CALLSIGN_REGISTRY_PASSWORD", "ETCD_PASSWORD"];
const CA: [&str; 1] = ["CALLSIGN_REGISTRY_CA"];
const CERT: [&str; 1] = ["CALLSIGN_REGISTRY_CERT"];
const KEY: [&str; 1] = ["CALLSIGN_REGISTRY_KEY"];

/// A user with a password, the authorities to trust, and a certificate of one's own: whatever of these a registry asks for.
///
/// Registries that ask for none of it, as `local` and `mdns`, pay no heed to it. Files are read when the registry is opened,
/// and again when they change.
///
/// ```
/// use callsign_registry::Access;
///
/// let access = Access::new().with_password("shop", "s3cret")?.with_ca_file("/etc/shop/ca.pem");
/// assert!(!format!("{access:?}").contains("s3cret"));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    user: Option<(String, String)>,
    ca_file: Option<PathBuf>,
    identity_files: Option<(PathBuf, PathBuf)>,
}

// === impl Access ===

impl Access {
    /// Nobody in particular, who trusts whom the system trusts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the environment says: `ETCD_USERNAME` and `ETCD_PASSWORD`, as go-micro's services read them, or
    /// `CALLSIGN_REGISTRY_USERNAME` and `CALLSIGN_REGISTRY_PASSWORD`, which win; and the PEM files that
    /// `CALLSIGN_REGISTRY_CA`, `CALLSIGN_REGISTRY_CERT` and `CALLSIGN_REGISTRY_KEY` name. An empty variable counts as not
    /// set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) for a user without a password, a certificate without its
    /// key, or either the other way round.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// The same, from variables of the caller's own.
    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let first = |names: &[&'static str]| {
            let set = |name: &&'static str| variable(name).filter(|value| !value.is_empty());
            names.iter().find_map(|name| Some((*name, set(name)?)))
        };
        let text = |found: Option<(&'static str, OsString)>| match found {
            None => Ok(None),
            Some((name, value)) => value
                .into_string()
                .map(Some)
                .map_err(|_| Error::invalid(OP, format!("the environment variable {name} is not UTF-8"))),
        };
        let path = |names| first(names).map(|(_, value)| PathBuf::from(value));
        let user = pair(
            (text(first(&USERNAME))?, "a user name", "ETCD_USERNAME"),
            (text(first(&PASSWORD))?, "a password", "ETCD_PASSWORD"),
        )?;
        let identity_files = pair((path(&CERT), "a certificate", CERT[0]), (path(&KEY), "a key", KEY[0]))?;
        Ok(Self { user, ca_file: path(&CA), identity_files })
    }

    /// Logs in as this user.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) when either is empty: that would be nobody.
    pub fn with_password(self, username: impl Into<String>, password: impl Into<String>) -> Result<Self> {
        let (username, password) = (username.into(), password.into());
        if username.is_empty() || password.is_empty() {
            return Err(Error::invalid(OP, "the user name or the password is empty")
                .with_hint("give both, or neither to be nobody in particular"));
        }
        Ok(Self { user: Some((username, password)), ..self })
    }

    /// Trusts servers by the authorities in this PEM file, and no others. TLS is then spoken whatever the address says.
    #[must_use]
    pub fn with_ca_file(self, path: impl Into<PathBuf>) -> Self {
        Self { ca_file: Some(path.into()), ..self }
    }

    /// Shows this certificate to servers that ask for one: PEM files of the chain and of its key. TLS is then spoken
    /// whatever the address says.
    #[must_use]
    pub fn with_identity_files(self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { identity_files: Some((cert.into(), key.into())), ..self }
    }

    /// The user and the password.
    #[must_use]
    pub fn user(&self) -> Option<(&str, &str)> {
        self.user.as_ref().map(|(username, password)| (username.as_str(), password.as_str()))
    }

    /// The file of authorities.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The files of the certificate and its key.
    #[must_use]
    pub fn identity_files(&self) -> Option<(&Path, &Path)> {
        self.identity_files.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()))
    }

    /// Whether any of it has a meaning for TLS only.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        self.ca_file.is_some() || self.identity_files.is_some()
    }
}

/// The password stays out of logs.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, ca_file, identity_files } = self;
        f.debug_struct("Access")
            .field("username", &user.as_ref().map(|(username, _)| username))
            .field("ca_file", ca_file)
            .field("identity_files", identity_files)
            .finish()
    }
}

/// Two values that mean nothing without each other.
fn pair<T>(
    one: (Option<T>, &'static str, &'static str),
    two: (Option<T>, &'static str, &'static str),
) -> Result<Option<(T, T)>> {
    let half = |there: &str, missing: &str, variable: &str| {
        Err(Error::invalid(OP, format!("there is {there} and not {missing}"))
            .with_hint(format!("set {variable} too")))
    };
    match (one, two) {
        ((Some(one), ..), (Some(two), ..)) => Ok(Some((one, two))),
        ((None, ..), (None, ..)) => Ok(None),
        ((Some(_), there, _), (None, missing, variable))
        | ((None, missing, variable), (Some(_), there, _)) => half(there, missing, variable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Access> {
        Access::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn go_micros_variables_are_read_and_ours_win() {
        assert_eq!(from(&[]).unwrap(), Access::new());
        let theirs = [("ETCD_USERNAME", "shop"), ("ETCD_PASSWORD", "s3cret")];
        assert_eq!(from(&theirs).unwrap().user(), Some(("shop", "s3cret")));
        let both =
            [&theirs[..], &[("CALLSIGN_REGISTRY_USERNAME", "me"), ("CALLSIGN_REGISTRY_PASSWORD", "x")]];
        assert_eq!(from(&both.concat()).unwrap().user(), Some(("me", "x")));
        let files = [
            ("CALLSIGN_REGISTRY_CA", "ca.pem"),
            ("CALLSIGN_REGISTRY_CERT", "me.pem"),
            ("CALLSIGN_REGISTRY_KEY", "me.key"),
        ];
        let access = from(&files).unwrap();
        assert_eq!(access, Access::new().with_ca_file("ca.pem").with_identity_files("me.pem", "me.key"));
        assert!(access.wants_tls());
    }

    #[test]
    fn half_of_a_pair_is_an_error_that_names_the_other_half() {
        for (variables, hint) in [
            (&[("ETCD_USERNAME", "shop")][..], "ETCD_PASSWORD"),
            (&[("ETCD_USERNAME", "shop"), ("ETCD_PASSWORD", "")], "ETCD_PASSWORD"),
            (&[("ETCD_PASSWORD", "s3cret")], "ETCD_USERNAME"),
            (&[("CALLSIGN_REGISTRY_CERT", "me.pem")], "CALLSIGN_REGISTRY_KEY"),
            (&[("CALLSIGN_REGISTRY_KEY", "me.key")], "CALLSIGN_REGISTRY_CERT"),
        ] {
            let error = from(variables).unwrap_err();
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
        assert!(Access::new().with_password("", "x").is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let access = Access::new().with_password("shop", "s3cret").unwrap();
        let shown = format!("{access:?}");
        assert!(shown.contains("shop") && !shown.contains("s3cret"), "{shown}");
    }
}
