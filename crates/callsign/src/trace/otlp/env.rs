//! Whether the environment names a collector, by OpenTelemetry's variables. The rest of them is read by its own crates.

use std::time::Duration;

use callsign_core::{Error, Result};

use super::OP;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Where OTLP over gRPC goes when nothing else is said.
const BUILT_IN: &str = "http://localhost:4317";

/// How many spans may wait, and how long a batch of them may take, when nothing else is said.
const QUEUE_SIZE: u64 = 2048;
const EXPORT_TIMEOUT_MS: u64 = 30_000;

/// One of the process, if it is set: an empty one counts as not set, by OpenTelemetry's rules.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

/// Where spans go; none if nobody wants them.
pub(super) fn endpoint(variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let exporter = variable("OTEL_TRACES_EXPORTER");
    let wanted = match exporter.as_deref() {
        None => false,
        Some("otlp") => true,
        Some("none") => return Ok(None),
        Some(other) => return Err(unknown("OTEL_TRACES_EXPORTER", other, "otlp or none")),
    };
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
    let endpoint = first(ENDPOINTS).map(|(_, endpoint)| endpoint);
    let Some(endpoint) = endpoint.or_else(|| wanted.then(|| BUILT_IN.to_owned())) else { return Ok(None) };
    match first(PROTOCOLS) {
        Some((name, protocol)) if protocol != "grpc" => Err(unknown(name, &protocol, "grpc")),
        _ => Ok(Some(endpoint)),
    }
}

/// Whether the environment says as which service spans are to be sent.
pub(super) fn names_service(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|list| list.split(',').any(|pair| pair.trim_start().starts_with("service.name=")))
}

/// How many spans may wait or be under way.
pub(super) fn queue_size(variable: impl Fn(&str) -> Option<String>) -> usize {
    let size = number(variable("OTEL_BSP_MAX_QUEUE_SIZE")).unwrap_or(QUEUE_SIZE);
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// How long the sending of a batch may take, with all that is tried again.
pub(super) fn export_timeout(variable: impl Fn(&str) -> Option<String>) -> Duration {
    Duration::from_millis(number(variable("OTEL_BSP_EXPORT_TIMEOUT")).unwrap_or(EXPORT_TIMEOUT_MS))
}

/// What is no number, or none to go by, counts as not set.
fn number(value: Option<String>) -> Option<u64> {
    value?.trim().parse().ok().filter(|number| *number > 0)
}

fn unknown(name: &str, value: &str, known: &str) -> Error {
    Error::invalid(OP, format!("{name} is {value:?}, and only {known} is known here"))
        .with_hint(format!("set {name} to {known}, or unset it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> + Copy {
        move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn spans_go_where_the_environment_says() {
        let at = |pairs| endpoint(env(pairs)).unwrap();
        assert_eq!(at(&[]), None);
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4317");
        assert_eq!(
            endpoint(|name| (name == general.0).then(|| general.1.to_owned())).unwrap().unwrap(),
            general.1
        );
        assert_eq!(at(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap(), BUILT_IN);
        let both =
            |name: &str| [general, own].iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        assert_eq!(endpoint(both).unwrap().unwrap(), own.1);
        for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            let off = |asked: &str| if asked == name { Some(value.to_owned()) } else { both(asked) };
            assert_eq!(endpoint(off).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_spoken_here_is_named() {
        for (name, value) in
            [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]
        {
            let said = |asked: &str| match asked {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://a:4318".to_owned()),
                _ => (asked == name).then(|| value.to_owned()),
            };
            let error = endpoint(said).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn whoever_is_turned_off_complains_of_nothing() {
        let off = [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "zipkin")];
        let off = |asked: &str| off.iter().find(|pair| pair.0 == asked).map(|pair| pair.1.to_owned());
        assert_eq!(endpoint(off).unwrap(), None);
    }

    #[test]
    fn bounds_are_numbers_above_zero() {
        assert_eq!((queue_size(env(&[])), export_timeout(env(&[]))), (2048, Duration::from_secs(30)));
        let set = env(&[("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_EXPORT_TIMEOUT", "250")]);
        assert_eq!((queue_size(set), export_timeout(set)), (16, Duration::from_millis(250)));
        for odd in ["0", "-1", "many"] {
            let set = |name: &str| (name == "OTEL_BSP_MAX_QUEUE_SIZE").then(|| odd.to_owned());
            assert_eq!(queue_size(set), 2048, "{odd}");
        }
    }

    #[test]
    fn the_environment_may_name_the_service() {
        assert!(names_service(env(&[("OTEL_SERVICE_NAME", "shop")])));
        assert!(names_service(env(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=shop")])));
        assert!(!names_service(env(&[("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=shop")])));
    }
}
