//! Certificates made on the spot: an authority, and what it signs.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate alone; its authority is known to whoever trusts it.
    pub pem: String,
    /// Its private key.
    pub key: String,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For as long as these tests are likely to be run.
    Now,
    /// It was, until 2020.
    Expired,
    /// It will be, from the year 3000.
    NotYet,
}

// === impl Authority ===

impl Authority {
    /// An authority called `name`.
    ///
    /// # Panics
    ///
    /// When no key can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(name, &[], Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The certificate to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server on this machine shows: `localhost`, 127.0.0.1 and ::1.
    #[must_use]
    pub fn server(&self) -> Certificate {
        self.sign("server", &["localhost", "127.0.0.1", "::1"], Validity::Now)
    }

    /// What a client called `name` shows.
    #[must_use]
    pub fn client(&self, name: &str) -> Certificate {
        self.sign(name, &[name], Validity::Now)
    }

    /// A certificate of `name` that holds these names and addresses, good for servers and for clients.
    ///
    /// # Panics
    ///
    /// When a name cannot be in a certificate.
    #[must_use]
    pub fn sign(&self, name: &str, names: &[&str], validity: Validity) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(name, names, validity);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Certificate { pem, key: key.serialize_pem() }
    }
}

fn params(name: &str, names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names that a certificate can hold");
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = match validity {
        Validity::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(3000, 1, 1)),
        Validity::Expired => (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1)),
        Validity::NotYet => (date_time_ymd(3000, 1, 1), date_time_ymd(3001, 1, 1)),
    };
    params
}
