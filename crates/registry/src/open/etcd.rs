//! From a URL and who is asking to an etcd.

use callsign_core::error::{Error, Result};
use callsign_net::tls::TlsConfig;

use crate::{
    access::Access,
    etcd::{EtcdConfig, EtcdRegistry},
    url::{RegistryUrl, malformed},
};

const OP: &str = "open registry";

/// Opens the etcd that `url` names. It is not connected to before it is used.
pub(super) fn open(url: &RegistryUrl, access: &Access) -> Result<EtcdRegistry> {
    config(url, access).map(EtcdRegistry::open)
}

fn config(url: &RegistryUrl, access: &Access) -> Result<EtcdConfig> {
    if !matches!(url.path(), "" | "/") {
        let problem = "etcd has no path: entries lie under /micro/registry, as go-micro has them";
        return Err(malformed(&url.to_string(), problem));
    }
    let config = match tls(access)? {
        None => EtcdConfig::new(url.authority())?,
        // With our own authorities those of the system are not looked for, and need not be there.
        Some(tls) => EtcdConfig::new(&without_https(url.authority()))?.with_tls(tls)?,
    };
    match access.user() {
        Some((username, password)) => config.with_credentials(username, password),
        None => Ok(config),
    }
}

/// TLS as `access` has it, if it speaks of it at all.
fn tls(access: &Access) -> Result<Option<TlsConfig>> {
    if !access.wants_tls() {
        return Ok(None);
    }
    let mut tls = TlsConfig::builder();
    if let Some(ca) = access.ca_file() {
        tls = tls.roots_file(ca);
    }
    if let Some((cert, key)) = access.identity_files() {
        tls = tls.identity_files(cert, key);
    }
    tls.build().map(Some).map_err(|error| {
        let files = [access.ca_file(), access.identity_files().map(|(cert, _)| cert)];
        let files: Vec<_> = files.into_iter().flatten().map(|file| file.display().to_string()).collect();
        Error::invalid(OP, format!("TLS cannot be set up from {}", files.join(" and ")))
            .with_source(error)
            .with_hint("look whether each file is there and holds what it should, in PEM (`-----BEGIN ...`)")
    })
}

fn without_https(addresses: &str) -> String {
    let parts = addresses.split(',').map(|address| address.strip_prefix("https://").unwrap_or(address));
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refused(url: &str, access: &Access) -> Error {
        config(&url.parse().unwrap(), access).unwrap_err()
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (url, shown) in [
            ("etcd:", "etcd://127.0.0.1:2379"),
            ("etcd://a,b:1", "etcd://a:2379,b:1"),
            ("etcd://http://a:1/", "etcd://a:1"),
        ] {
            assert_eq!(config(&url.parse().unwrap(), &Access::new()).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_an_etcd_is_told() {
        for (url, said) in [
            ("etcd://a:port", "not a port"),
            ("etcd://ftp://a", "etcd://ftp:"),
            ("etcd://a/prefix", "/micro/registry"),
            ("etcd://https://a,b", "some speak TLS and some do not"),
        ] {
            let error = refused(url, &Access::new());
            assert!(error.to_string().contains(said), "{url}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_of_no_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, garbage) = (folder.path().join("missing.pem"), folder.path().join("garbage.pem"));
        fs::write(&garbage, "no certificate at all").unwrap();
        let error = refused("etcd://a:1", &Access::new().with_ca_file(&missing));
        assert!(error.to_string().contains("missing.pem"), "{error}");
        for access in
            [Access::new().with_ca_file(&garbage), Access::new().with_identity_files(&garbage, &garbage)]
        {
            let error = refused("etcd://a:1", &access);
            assert!(error.to_string().contains("garbage.pem") && error.hint().is_some(), "{error:?}");
        }
    }
}
