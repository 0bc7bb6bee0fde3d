//! What went wrong in TLS, in the words of whoever has to put it right.

use std::{io, net::SocketAddr};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as Rustls};

use super::TlsConfig;
use crate::{
    Host,
    error::{Disposition, Error, ErrorKind},
};

/// Reads why the handshake failed.
pub(crate) fn explain_handshake(host: &Host, tls: &TlsConfig, error: io::Error) -> Error {
    let (kind, message) = match rustls_error(&error) {
        Some(cause) => words(host, tls, cause),
        None if is_hang_up(&error) => (
            ErrorKind::NotTls,
            format!("{host} hung up when spoken to in TLS: it probably speaks plaintext; try it without TLS"),
        ),
        None => (ErrorKind::Connect, format!("the TLS handshake with {host} broke off")),
    };
    Error::new(kind, Disposition::Unsent, message).with_source(error)
}

/// Reads why a connection ended right after the handshake: the peer's last word on our certificate comes only then.
pub(crate) fn explain_broken(host: &Host, tls: &TlsConfig, fault: Option<&io::Error>, error: Error) -> Error {
    let Some(cause) = fault.and_then(rustls_error) else {
        let message = format!(
            "{host} ended the connection after the TLS handshake without a word: it may want another client certificate, \
             or be ending"
        );
        return Error::new(ErrorKind::HungUp, Disposition::Unsent, message).with_source(error);
    };
    let (kind, message) = words(host, tls, cause);
    Error::new(kind, Disposition::Unsent, message).with_source(cause.clone())
}

/// Reads why a client's handshake failed.
pub(super) fn explain_client(peer: SocketAddr, error: io::Error) -> Error {
    let (kind, message) = match rustls_error(&error) {
        Some(Rustls::InvalidCertificate(fault)) => {
            (ErrorKind::Untrusted, format!("the client certificate of {peer} {}", certificate(fault)))
        }
        Some(Rustls::NoCertificatesPresented) => {
            (ErrorKind::Untrusted, format!("{peer} showed no client certificate, and one is required"))
        }
        Some(Rustls::AlertReceived(alert)) => (ErrorKind::TlsRefused, doubt(peer, *alert)),
        Some(_) => {
            (ErrorKind::TlsRefused, format!("{peer} and this server cannot agree on how to speak TLS"))
        }
        None => (ErrorKind::HungUp, format!("{peer} broke the TLS handshake off")),
    };
    Error::new(kind, Disposition::Unsent, message).with_source(error)
}

/// A client spoke plaintext to a server that wants TLS.
pub(super) fn explain_turned_away(peer: SocketAddr) -> Error {
    let message = format!("{peer} speaks plaintext, and this port speaks TLS");
    Error::new(ErrorKind::NotTls, Disposition::Unsent, message)
}

/// What a client has against our certificate, by its alert.
fn doubt(peer: SocketAddr, alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA => "it does not trust the authority that signed it",
        AlertDescription::CertificateExpired => "it has expired, by the client's clock",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it is for another name, or not valid for another reason"
        }
        other => return format!("{peer} refused the TLS connection ({other:?})"),
    };
    format!("{peer} does not accept our certificate: {why}")
}

fn rustls_error(error: &io::Error) -> Option<&Rustls> {
    error.get_ref()?.downcast_ref()
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn words(host: &Host, tls: &TlsConfig, error: &Rustls) -> (ErrorKind, String) {
    match error {
        Rustls::InvalidMessage(_) => (
            ErrorKind::NotTls,
            format!("{host} answered TLS with something else: it speaks plaintext; try it without TLS"),
        ),
        Rustls::InvalidCertificate(fault) => {
            (ErrorKind::Untrusted, format!("the certificate of {host} {}", certificate(fault)))
        }
        Rustls::NoCertificatesPresented => (ErrorKind::Untrusted, format!("{host} showed no certificate")),
        Rustls::AlertReceived(alert) => (ErrorKind::TlsRefused, refusal(host, tls, *alert)),
        _ => (ErrorKind::TlsRefused, format!("{host} and this client cannot agree on how to speak TLS")),
    }
}

/// What is the matter with the peer's certificate.
fn certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => format!(
            "holds no name at all (SAN), and {:?} was expected: it needs one, or set the server's name",
            expected.to_str()
        ),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "is for {}, and not for {:?}: connect to a name that it holds, or set the server's name",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            expected.to_str()
        ),
        CertificateError::NotValidForName => {
            "is for another name: connect to one that it holds, or set the server's name".into()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "expired {} ago: renew it, or look at this machine's clock",
            days(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        CertificateError::Expired => "has expired: renew it, or look at this machine's clock".into(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "is valid only in {}: is this machine's clock right?",
            days(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        CertificateError::NotValidYet => "is not valid yet: is this machine's clock right?".into(),
        CertificateError::UnknownIssuer => {
            "is signed by an authority that is not trusted here: give that authority as a root".into()
        }
        CertificateError::Revoked => "was revoked".into(),
        CertificateError::BadSignature => {
            "bears a wrong signature: a root of the same name may be another authority".into()
        }
        CertificateError::BadEncoding => "cannot be read".into(),
        other => format!("cannot be trusted ({other})"),
    }
}

/// A name as people write it: rustls has `DnsName("etcd.internal")` and `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// Why the peer hung up, by its alert.
fn refusal(host: &Host, tls: &TlsConfig, alert: AlertDescription) -> String {
    // Without a certificate of ours there is nothing else that could be bad about it: some peers call its lack that.
    let wants_one = match alert {
        AlertDescription::CertificateRequired => true,
        AlertDescription::BadCertificate => !tls.has_identity(),
        _ => false,
    };
    if wants_one {
        return match tls.has_identity() {
            false => {
                format!("{host} wants a client certificate, and there is none to show: give one with its key")
            }
            true => format!(
                "{host} wants a client certificate, and ours was not signed by an authority that it names"
            ),
        };
    }
    let why = match alert {
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept our client certificate"
        }
        AlertDescription::CertificateExpired => "our client certificate has expired",
        AlertDescription::CertificateRevoked => "our client certificate was revoked",
        AlertDescription::UnknownCA => {
            "our client certificate is signed by an authority that it does not trust"
        }
        AlertDescription::AccessDenied => "our client certificate is good, and may not come in",
        AlertDescription::UnrecognisedName => "it knows no server of that name: set the server's name",
        AlertDescription::NoApplicationProtocol => {
            "it offers no HTTP/2 over TLS: is this the port of another service?"
        }
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3",
        AlertDescription::HandshakeFailure => "no cipher, or nothing else, that both can agree on",
        other => return format!("{host} refused the TLS connection ({other:?})"),
    };
    format!("{host} refused the TLS connection: {why}")
}

/// A span of seconds as a person says it.
fn days(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
