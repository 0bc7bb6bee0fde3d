//! Certificates and keys: PEM text, or the files that it is read from.

use std::{borrow::Cow, fs, path::PathBuf};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::error::{Disposition, Error, ErrorKind};

/// PEM text, and where it comes from.
#[derive(Clone)]
pub(super) enum Pem {
    Text(Vec<u8>),
    File(PathBuf),
}

/// What TLS is set up from, before it is read.
#[derive(Clone, Default)]
pub(super) struct Sources {
    /// The authorities to trust.
    pub(super) roots: Option<Pem>,
    /// A certificate with its chain, and its key.
    pub(super) identity: Option<(Pem, Pem)>,
}

/// The text of all of them, as it was at one time.
#[derive(PartialEq)]
pub(super) struct Material {
    pub(super) roots: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

// === impl Pem ===

impl Pem {
    fn read(&self, what: &str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => fs::read(path).map_err(|error| {
                settings(format!("{what} cannot be read from {}", path.display())).with_source(error)
            }),
        }
    }

    fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

// === impl Sources ===

impl Sources {
    /// Reads them all. It blocks for as long as the file system does.
    pub(super) fn read(&self) -> Result<Material, Error> {
        let identity = |(chain, key): &(Pem, Pem)| Ok((chain.read("the certificate")?, key.read("the key")?));
        Ok(Material {
            roots: self.roots.as_ref().map(|roots| roots.read("the authorities")).transpose()?,
            identity: self.identity.as_ref().map(identity).transpose()?,
        })
    }

    /// Whether they can change.
    pub(super) fn are_files(&self) -> bool {
        let Self { roots, identity } = self;
        roots.as_ref().is_some_and(Pem::is_file)
            || identity.as_ref().is_some_and(|(chain, key)| chain.is_file() || key.is_file())
    }
}

// === free functions ===

pub(super) fn read_roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("the root certificates", pem)? {
        roots
            .add(certificate)
            .map_err(|error| settings("a root certificate cannot be read").with_source(error))?;
    }
    Ok(roots)
}

pub(super) fn read_certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(settings(format!("{what}: there is no `BEGIN CERTIFICATE` in the PEM text")))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(settings(format!("{what}: this is not PEM")).with_source(error)),
    }
}

pub(super) fn read_key(whose: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        settings(format!("the {whose}'s key holds no private key in PEM")).with_source(error)
    })
}

pub(super) fn settings(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Settings, Disposition::Unsent, message)
}
