//! `-H 'name: value'`.

use tonic::metadata::{AsciiMetadataKey, BinaryMetadataKey, BinaryMetadataValue, MetadataMap};

use crate::error::{CliError, Result};

/// Reads headers as curl has them. A name that ends in `-bin` takes any text, sent as bytes.
///
/// # Errors
///
/// Exit code 2, with the header and what is wrong with it.
pub(super) fn parse(headers: &[String]) -> Result<MetadataMap> {
    let mut map = MetadataMap::new();
    for header in headers {
        let wrong = |what: &str| {
            CliError::usage(format!("{header:?} is not a header: {what}"))
                .hint("write it like -H 'team: payments'")
        };
        let (name, value) = header.split_once(':').ok_or_else(|| wrong("there is no colon in it"))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name.starts_with("grpc-") {
            return Err(wrong("names that begin with grpc- are the protocol's own"));
        }
        if name.ends_with("-bin") {
            let key =
                name.parse::<BinaryMetadataKey>().map_err(|_| wrong("the name holds odd characters"))?;
            map.append_bin(key, BinaryMetadataValue::from_bytes(value.as_bytes()));
        } else {
            let key = name.parse::<AsciiMetadataKey>().map_err(|_| wrong("the name holds odd characters"))?;
            if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                return Err(wrong("the value holds more than printable ASCII"));
            }
            let value = value.parse().map_err(|_| wrong("the value holds more than printable ASCII"))?;
            map.append(key, value);
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    #[test]
    fn headers_are_read_as_curl_has_them() {
        let map = parse(&["Team: payments".into(), "team:b".into(), "x-bin: \u{fc}".into()]).unwrap();
        assert_eq!(map.get_all("team").iter().collect::<Vec<_>>(), ["payments", "b"]);
        assert_eq!(map.get_bin("x-bin").unwrap().to_bytes().unwrap(), "\u{fc}".as_bytes());
    }

    #[test]
    fn a_bad_header_says_what_is_wrong() {
        for (header, said) in [
            ("team", "no colon"),
            ("a b: c", "odd characters"),
            (": c", "odd characters"),
            ("a: \u{fc}", "printable ASCII"),
            ("grpc-timeout: 1S", "protocol's own"),
        ] {
            let error = parse(&[header.to_owned()]).unwrap_err().render(Paint::OFF);
            assert!(error.contains(said), "{header}: {error}");
        }
    }
}
