//! A node's load as it goes over the wire: `xds.data.orca.v3.OrcaLoadReport` in a trailer, as far as weights are made of it.

use std::collections::BTreeMap;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use callsign_core::select::LoadReport;
use http::{HeaderName, HeaderValue};
use prost::Message as _;

/// The trailer that it comes in.
pub(crate) static TRAILER: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

/// gRPC writes no padding, and reads both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The fields that we read or write; the others are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct OrcaLoadReport {
    #[prost(double, tag = "1")]
    cpu_utilization: f64,
    #[prost(btree_map = "string, double", tag = "5")]
    utilization: BTreeMap<String, f64>,
    #[prost(double, tag = "6")]
    rps_fractional: f64,
    #[prost(double, tag = "7")]
    eps: f64,
    #[prost(btree_map = "string, double", tag = "8")]
    named_metrics: BTreeMap<String, f64>,
    #[prost(double, tag = "9")]
    application_utilization: f64,
}

/// The value of the trailer.
pub(crate) fn encode(report: &LoadReport) -> Option<HeaderValue> {
    let orca = OrcaLoadReport {
        cpu_utilization: report.cpu,
        application_utilization: report.application,
        rps_fractional: report.calls_per_second,
        eps: report.failures_per_second,
        named_metrics: report.named.clone(),
        utilization: BTreeMap::new(),
    };
    BASE64.encode(orca.encode_to_vec()).try_into().ok()
}

/// Reads the value of the trailer; the error says what is wrong with it.
pub(crate) fn decode(value: &HeaderValue) -> Result<LoadReport, String> {
    let bytes = BASE64.decode(value).map_err(|error| format!("it is not base64: {error}"))?;
    let orca =
        OrcaLoadReport::decode(&*bytes).map_err(|error| format!("it is no OrcaLoadReport: {error}"))?;
    let mut named = orca.utilization;
    named.extend(orca.named_metrics);
    Ok(LoadReport {
        cpu: orca.cpu_utilization,
        application: orca.application_utilization,
        calls_per_second: orca.rps_fractional,
        failures_per_second: orca.eps,
        named,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_grpc_writes_is_read() {
        // As grpc-go encodes cpu 0.5, memory 0.25 (which is passed over), utilization {disk: 1}, rps 100, application 0.75.
        let wire = [
            &[0x09][..],
            &0.5_f64.to_le_bytes(),
            &[0x11],
            &0.25_f64.to_le_bytes(),
            &[0x2a, 0x0f, 0x0a, 0x04],
            b"disk",
            &[0x11],
            &1.0_f64.to_le_bytes(),
            &[0x31],
            &100.0_f64.to_le_bytes(),
            &[0x49],
            &0.75_f64.to_le_bytes(),
        ]
        .concat();
        let expected = LoadReport {
            cpu: 0.5,
            application: 0.75,
            calls_per_second: 100.0,
            failures_per_second: 0.0,
            named: BTreeMap::from([("disk".to_owned(), 1.0)]),
        };
        for text in [BASE64.encode(&wire), base64::prelude::BASE64_STANDARD.encode(&wire)] {
            assert_eq!(decode(&text.try_into().unwrap()), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in ["$$$", "AAAA", "CQ"] {
            assert!(decode(&HeaderValue::from_static(text)).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_report_comes_back_as_it_went(
            numbers in [0.0..1e9, 0.0..1e9, 0.0..1e9, 0.0..1e9f64],
            named in prop::collection::btree_map("[a-z]{1,8}", 0.0..2.0f64, 0..4),
        ) {
            let [cpu, application, calls_per_second, failures_per_second] = numbers;
            let report = LoadReport { cpu, application, calls_per_second, failures_per_second, named };
            prop_assert_eq!(decode(&encode(&report).unwrap()), Ok(report));
        }

        #[test]
        fn no_value_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), raw in any::<bool>()) {
            let text = if raw { bytes } else { BASE64.encode(bytes).into_bytes() };
            if let Ok(value) = HeaderValue::from_bytes(&text) {
                let _ = decode(&value);
            }
        }
    }
}
