//! What the user reads at the end: a line for each workload, the checks, and the verdict.

use comfy_table::{CellAlignment, Table, presets};
use meter::measurement::{Measurement, Quantity, WithAndWithout, WorkloadResult};

use crate::exit::ExitError;

/// Columns: title and quantity.
const COLUMNS: [(&str, &str); 11] = [
    ("DIRT", "dirt_messages"),
    ("DIRT/s", "dirt_per_s"),
    ("in 1 s", "dirt_in_1s"),
    ("declared px", "declared_px"),
    ("pages written", "written_pages"),
    ("changed px", "changed_px"),
    ("over-decl.", "over_declaration"),
    ("missed px", "missed_px"),
    ("stale tiles", "stale_tiles"),
    ("latency us", "doorbell_to_surface_p50_us"),
    ("CPU us/DIRT", "host_cpu_us_per_dirt"),
];

/// Prints the table and the checks on standard output.
pub(super) fn print(measurement: &Measurement) {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    println!(
        "Linux {}, {} at {}",
        or_dash(&measurement.guest.kernel),
        or_dash(&measurement.guest.driver),
        or_dash(&measurement.device.mode)
    );
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let titles = ["workload", "ms"].into_iter().chain(COLUMNS.map(|(title, _)| title));
    table.set_header(titles);
    for workload in &measurement.workloads {
        table.add_row(row(workload));
    }
    for column in 1..COLUMNS.len() + 2 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    for workload in &measurement.workloads {
        if let Some(reason) = &workload.not_run {
            println!("{}: not run: {reason}", workload.name);
        }
    }
    for workload in &measurement.workloads {
        passes(workload);
    }
    for check in measurement.checks.iter().filter(|check| !check.passed) {
        println!("FAIL {}", check.detail);
    }
    let passed = measurement.checks.iter().filter(|check| check.passed).count();
    println!("{passed} of {} checks passed", measurement.checks.len());
}

/// What several passes of one workload came to.
fn passes(workload: &WorkloadResult) {
    if let Some(repeats) = &workload.repeats {
        println!("\n{}, {} windows, spread {:.1} %:", workload.name, repeats.windows, repeats.spread_percent);
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["count", "least", "median", "most", "spread %"]);
        for count in repeats.counts.iter().filter(|count| count.max > 0.0) {
            let numbers = [count.min, count.median, count.max, count.spread_percent];
            let cells = numbers.map(|value| number(Some(value)));
            table.add_row(std::iter::once(count.quantity.clone()).chain(cells));
        }
        for column in 1..5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{table}");
    }
    if let Some(overhead) = &workload.oracle_overhead {
        let ratio = |of: &WithAndWithout| match (of.ratio, of.ratio_min, of.ratio_max) {
            (Some(ratio), Some(min), Some(max)) => format!("{ratio:.3} ({min:.3} - {max:.3})"),
            (Some(ratio), ..) => format!("{ratio:.3}"),
            _ => "not measured".to_owned(),
        };
        println!(
            "\n{}, with the oracle by without it, {} rounds: vCPU threads {}, guest CPU {}, duration {}, host CPU {}",
            workload.name,
            overhead.rounds,
            ratio(&overhead.vcpu_cpu_us),
            ratio(&overhead.guest_cpu_ms),
            ratio(&overhead.duration_ms),
            ratio(&overhead.host_cpu_us)
        );
    }
}

fn row(workload: &WorkloadResult) -> Vec<String> {
    let mut cells = vec![workload.name.clone()];
    if workload.not_run.is_some() {
        cells.resize(COLUMNS.len() + 2, String::new());
        return cells;
    }
    cells.push(format!("{:.0}", workload.duration_ms));
    let value = |name| Quantity::named(name).and_then(|quantity: &Quantity| quantity.of(workload));
    cells.extend(COLUMNS.map(|(_, name)| number(value(name))));
    cells
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.is_infinite() => "inf".to_owned(),
        Some(value) if value.fract() == 0.0 || value >= 1_000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

/// Success only if every check passed.
pub(super) fn verdict(measurement: &Measurement) -> Result<(), ExitError> {
    let failed: Vec<&str> = measurement
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| if check.detail.is_empty() { check.name.as_str() } else { check.detail.as_str() })
        .collect();
    if failed.is_empty() && !measurement.checks.is_empty() {
        return Ok(());
    }
    if measurement.checks.is_empty() {
        return Err(ExitError::check_failed("nothing was checked"));
    }
    Err(ExitError::check_failed(format!(
        "{} of {} checks failed: {}",
        failed.len(),
        measurement.checks.len(),
        failed.join("; ")
    )))
}
