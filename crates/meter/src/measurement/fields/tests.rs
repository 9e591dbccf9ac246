use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::*;
use crate::measurement::{
    Bucket, Costs, CountSpread, Heat, Measurement, MissedArea, OracleOverhead, Repeats, SCHEMA, Settings,
    StaleTiles, TimelinePoint, UnwantedPass, WorkloadResult,
};
use crate::meter::Meter;
use crate::report::{Check, Guest, Host, Kvm, LabClock, Report, Synic};

const DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/measurement.md");

fn full() -> Measurement {
    let host = Host {
        kvm: Kvm::Lab,
        lab_clock: Some(LabClock::Host),
        synic: Synic::Kernel,
        version: "0".into(),
        kernel: None,
        vcpus: None,
        ram_bytes: None,
        duration_ms: None,
        vmm_memory_kib: None,
    };
    let report = Report::new(host, Guest::default(), 1, &Meter::new());
    let bars = vec![Bucket { from: 0.0, to: 1.0, count: 1 }];
    let area = MissedArea { at_ms: 1.0, x: 0, y: 0, width: 1, height: 1, px: 1 };
    let mut workload = WorkloadResult {
        missed: vec![area],
        stale: Some(StaleTiles::default()),
        interval_histogram: bars.clone(),
        costs: Costs { exits_by_reason: BTreeMap::from([("io_exits".into(), 1)]), ..Costs::default() },
        unwanted: Some(UnwantedPass::default()),
        timeline: vec![TimelinePoint::default()],
        heat: Some(Heat::default()),
        repeats: Some(Repeats { counts: vec![CountSpread::default()], ..Repeats::default() }),
        oracle_overhead: Some(OracleOverhead::default()),
        ..WorkloadResult::default()
    };
    workload.latency_us.doorbell_to_surface_histogram = bars.clone();
    workload.latency_us.write_to_dirt_histogram = bars;
    Measurement {
        schema: SCHEMA.into(),
        host: report.host,
        guest: report.guest,
        device: report.device,
        settings: Settings {
            grace_ms: 100,
            sample_ms: 10,
            tile_px: 16,
            seed: 1,
            scale_percent: 100,
            oracle: true,
        },
        workloads: vec![workload],
        checks: vec![Check { name: "x".into(), passed: true, detail: String::new() }],
        limits: vec!["x".into()],
    }
}

/// Every key that is not a report's. What hangs below `exits_by_reason` is data.
fn keys(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(keys) if !path.ends_with("exits_by_reason") => {
                for (key, value) in keys {
                    walk(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
                }
            }
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                elements.iter().for_each(|element| walk(element, &format!("{path}[]"), found));
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    let of_reports = ["host.", "guest.", "device.", "checks[]", "limits"];
    found.retain(|path| !of_reports.iter().any(|start| path.starts_with(start)));
    found
}

fn between<'a>(doc: &'a str, what: &str) -> Option<&'a str> {
    let (_, rest) = doc.split_once(&format!("<!-- {what} table: begin -->\n"))?;
    Some(rest.split_once(&format!("<!-- {what} table: end -->"))?.0)
}

#[test]
fn every_key_of_a_measurement_is_a_documented_field_and_every_field_a_key() {
    let found = keys(&serde_json::to_value(full()).expect("a measurement"));
    let fields: BTreeSet<_> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(fields.len(), FIELDS.len(), "a field is listed twice");
    assert_eq!(found, fields);
}

#[test]
fn measurement_reads_back_equal() {
    let text = serde_json::to_string(&full()).expect("a measurement");
    assert_eq!(serde_json::from_str::<Measurement>(&text).expect("a measurement"), full());
}

#[test]
fn document_holds_the_generated_tables() {
    let doc = fs::read_to_string(DOC).expect("docs/measurement.md");
    let why = "replace what is between the markers of docs/measurement.md by the table";
    assert_eq!(between(&doc, "field"), Some(&*field_table()), "{why}");
    assert_eq!(between(&doc, "budget"), Some(&*budget_table()), "{why}");
}
