//! How a node is chosen: the strategy, with what can be set of it.

use std::time::Duration;

use callsign_core::{
    Result,
    select::{AdaptiveConfig, Aperture, Choices, PrequalConfig, ReportConfig, Strategy},
};

use super::options::{Options, Value};

/// The strategy, if the target says anything of it.
pub(super) fn strategy(options: &mut Options<'_>) -> Result<Option<Strategy>> {
    let mut named = options.take("strategy").map(|value| value.text()?.parse::<Strategy>()).transpose()?;
    let settings: [(&'static str, Setting); 13] = [
        ("choices", choices),
        ("aperture", |strategy, value| adaptive(strategy, value, aperture)),
        ("clients", |strategy, value| adaptive(strategy, value, clients)),
        ("decay", |strategy, value| {
            adaptive(strategy, value, |config, value| config.decay(value.duration()?))
        }),
        ("error_charge", |strategy, value| adaptive(strategy, value, error_charge)),
        ("floor", |strategy, value| {
            adaptive(strategy, value, |config, value| config.floor(value.duration()?))
        }),
        ("blackout", |strategy, value| reports(strategy, value, blackout)),
        ("expiry", |strategy, value| {
            reports(strategy, value, |config, value| config.expiry(value.duration()?))
        }),
        ("error_penalty", |strategy, value| {
            reports(strategy, value, |config, value| config.error_penalty(value.number()?))
        }),
        ("metrics", |strategy, value| reports(strategy, value, metrics)),
        ("probes", |strategy, value| {
            prequal(strategy, value, |config, value| config.probes(value.number()?))
        }),
        ("hot", |strategy, value| prequal(strategy, value, |config, value| config.hot(value.number()?))),
        ("max_load", |strategy, value| strategy.with_max_load(value.number()?)),
    ];
    let fixed = options.has("aperture");
    for (key, set) in settings {
        if let Some(value) = options.take(key) {
            if key == "clients" && fixed {
                return Err(value.idle("widens an aperture that follows the calls, and contradicts aperture"));
            }
            named = Some(set(named.unwrap_or_default(), value)?);
        }
    }
    Ok(named)
}

/// `slow_start=30s`, `slow_start=off`
pub(super) fn slow_start(options: &mut Options<'_>) -> Result<Option<Duration>> {
    let Some(value) = options.take("slow_start") else { return Ok(None) };
    match &*value.text()? {
        "off" => Ok(Some(Duration::ZERO)),
        _ => value.duration().map(Some),
    }
}

type Setting = fn(Strategy, Value<'_>) -> Result<Strategy>;

fn choices(strategy: Strategy, value: Value<'_>) -> Result<Strategy> {
    match strategy {
        Strategy::LeastRequest { choices: _ } => Ok(Strategy::LeastRequest { choices: value.count(2..=8)? }),
        Strategy::Adaptive(config) => {
            Ok(Strategy::Adaptive(config.choices(Choices::Fixed(value.count(2..=8)?))))
        }
        other => {
            let why = format!("means nothing to the strategy {other}, which compares no nodes");
            Err(value.idle(&why).with_hint("least-request and adaptive do"))
        }
    }
}

/// Sets what only the adaptive strategy has.
fn adaptive(
    strategy: Strategy,
    value: Value<'_>,
    set: impl Fn(AdaptiveConfig, Value<'_>) -> Result<AdaptiveConfig>,
) -> Result<Strategy> {
    match strategy {
        Strategy::Adaptive(config) => Ok(Strategy::Adaptive(set(config, value)?)),
        other => Err(value
            .idle(&format!("means nothing to the strategy {other}"))
            .with_hint("it is a setting of adaptive")),
    }
}

/// Sets what only the strategy by load reports has.
fn reports(
    strategy: Strategy,
    value: Value<'_>,
    set: impl Fn(ReportConfig, Value<'_>) -> Result<ReportConfig>,
) -> Result<Strategy> {
    match strategy {
        Strategy::LoadReports(config) => Ok(Strategy::LoadReports(set(config, value)?)),
        other => Err(value
            .idle(&format!("means nothing to the strategy {other}"))
            .with_hint("it is a setting of load-reports")),
    }
}

/// Sets what only the strategy by probes has.
fn prequal(
    strategy: Strategy,
    value: Value<'_>,
    set: impl Fn(PrequalConfig, Value<'_>) -> Result<PrequalConfig>,
) -> Result<Strategy> {
    match strategy {
        Strategy::Prequal(config) => Ok(Strategy::Prequal(set(config, value)?)),
        other => Err(value
            .idle(&format!("means nothing to the strategy {other}"))
            .with_hint("it is a setting of prequal")),
    }
}

/// `blackout=off` believes the first report.
fn blackout(config: ReportConfig, value: Value<'_>) -> Result<ReportConfig> {
    match &*value.text()? {
        "off" => config.blackout(Duration::ZERO),
        _ => config.blackout(value.duration()?),
    }
}

fn metrics(config: ReportConfig, value: Value<'_>) -> Result<ReportConfig> {
    let names = value.text()?;
    if names.split(',').any(str::is_empty) {
        return Err(value.wrong("names with commas between them"));
    }
    Ok(config.metrics(names.split(',')))
}

fn aperture(config: AdaptiveConfig, value: Value<'_>) -> Result<AdaptiveConfig> {
    match &*value.text()? {
        "all" => Ok(config.aperture(Aperture::All)),
        _ => Ok(config.aperture(Aperture::Fixed(value.count(2..=u32::MAX)?))),
    }
}

fn clients(config: AdaptiveConfig, value: Value<'_>) -> Result<AdaptiveConfig> {
    Ok(config.clients(value.count(1..=u32::MAX)?))
}

/// `error_charge=off` charges nothing.
fn error_charge(config: AdaptiveConfig, value: Value<'_>) -> Result<AdaptiveConfig> {
    match &*value.text()? {
        "off" => config.error_charge(Duration::ZERO),
        _ => config.error_charge(value.duration()?),
    }
}
