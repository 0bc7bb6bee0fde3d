//! When a node is left alone, and for how long.

use callsign_core::{Result, health::HealthConfig};

use super::options::{Options, Value};
use crate::client::HealthCheck;

/// What the target says of health, if it does.
pub(super) fn config(options: &mut Options<'_>) -> Result<Option<HealthConfig>> {
    let off = options.take("health").map(|value| match &*value.text()? {
        "off" => Ok(()),
        _ => Err(value.wrong("off; it is on unless said so")),
    });
    let off = off.transpose()?.is_some();
    let settings: [(&'static str, Setting); 6] = [
        ("health.consecutive", |config, value| config.consecutive(value.count(1..=u32::MAX)?)),
        ("health.deviations", |config, value| config.deviations(value.number()?)),
        ("health.failed_percent", |config, value| config.failed_share(value.number()? / 100.0)),
        ("health.interval", |config, value| config.interval(value.duration()?)),
        ("health.ejection", |config, value| {
            let (base, longest) = value.durations()?;
            config.ejection(base, longest)
        }),
        ("health.ejected_percent_max", |config, value| config.ejected_percent_max(value.count(0..=50)?)),
    ];
    let mut config = None;
    for (key, set) in settings {
        if let Some(value) = options.take(key) {
            if off {
                return Err(value.idle("contradicts health=off"));
            }
            config = Some(set(config.unwrap_or_default(), value)?);
        }
    }
    Ok(if off { Some(HealthConfig::off()) } else { config })
}

/// `health.check=grpc`, `health.check=grpc:greeter.Greeter`
pub(super) fn check(options: &mut Options<'_>) -> Result<Option<HealthCheck>> {
    let Some(value) = options.take("health.check") else { return Ok(None) };
    let text = value.text()?;
    match text.split_once(':') {
        None if text == "grpc" => Ok(Some(HealthCheck::default())),
        Some(("grpc", service)) if !service.is_empty() => Ok(Some(HealthCheck::of(service))),
        _ => Err(value.wrong("grpc, or grpc:SERVICE for one service of the nodes")),
    }
}

type Setting = fn(HealthConfig, Value<'_>) -> Result<HealthConfig>;
