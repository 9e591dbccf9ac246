//! What the user reads at the end: a short table, and the verdict.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use meter::report::{self, Report};

use crate::exit::ExitError;
use crate::machine::Machine;

/// Prints the traffic table and the checks on standard output.
pub(crate) fn print(report: &Report) {
    let traffic = &report.traffic;
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let guest = match (&report.guest.kernel, report.guest.simulated) {
        (_, true) => "simulated guest".to_owned(),
        (kernel, false) => format!("Linux {}", or_dash(kernel.clone())),
    };
    let rows: [(&str, String); 15] = [
        ("guest", guest),
        ("driver", or_dash(report.guest.driver.clone())),
        ("kvm / SynIC", format!("{:?} / {:?}", report.host.kvm, report.host.synic).to_lowercase()),
        (
            "VMBus / synthvid",
            format!(
                "{} / {}",
                or_dash(report.device.vmbus_version.clone()),
                or_dash(report.device.synthvid_version.clone())
            ),
        ),
        (
            "mode, VRAM",
            format!(
                "{}, {} at {}",
                or_dash(report.device.mode.clone()),
                or_dash(report.device.vram.kind.clone()),
                or_dash(report.device.vram.gpa.clone())
            ),
        ),
        ("DIRT messages", traffic.dirt_messages.to_string()),
        ("DIRT rectangles", format!("{} ({} rejected)", traffic.dirt_rects, traffic.rejected_rects)),
        ("declared px", traffic.declared_px.to_string()),
        ("changed px", traffic.changed_px.to_string()),
        ("implied px", traffic.implied_px.to_string()),
        ("signals", or_dash(traffic.signals.map(|signals| signals.to_string()))),
        ("DIRT in busiest 1 s", traffic.max_dirt_in_1s.to_string()),
        (
            "doorbell to surface",
            format!(
                "p50 {} us, p99 {} us",
                or_dash(report.latency_us.doorbell_to_surface.p50.map(|us| us.to_string())),
                or_dash(report.latency_us.doorbell_to_surface.p99.map(|us| us.to_string()))
            ),
        ),
        ("exits", or_dash(report.exits.total.map(|exits| exits.to_string()))),
        (
            "exits to user space",
            format!(
                "{} ({} for signals)",
                or_dash(report.exits.user.map(|exits| exits.to_string())),
                or_dash(report.exits.signal_user.map(|exits| exits.to_string()))
            ),
        ),
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    println!("{table}");
    for check in &report.checks {
        println!("{} {:<24} {}", if check.passed { "ok  " } else { "FAIL" }, check.name, check.detail);
    }
}

/// Success only if every check passed, and there was one.
pub(crate) fn verdict(report: &Report) -> Result<(), ExitError> {
    let failed: Vec<&str> =
        report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
    if report.checks.is_empty() {
        return Err(ExitError::check_failed("nothing was checked"));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(ExitError::check_failed(format!(
        "{} of {} checks failed: {}",
        failed.len(),
        report.checks.len(),
        failed.join(", ")
    )))
}

/// The machine's exits as the report has them.
pub(crate) fn exits(machine: &Machine) -> report::Exits {
    let exits = machine.exits();
    let synic = machine.synic_stats().snapshot();
    report::Exits {
        total: machine.kvm_exits(),
        user: Some(exits.user),
        hypercall_user: Some(synic.hypercall_user),
        signal_user: Some(synic.signal_user),
        by_reason: BTreeMap::from([
            ("io".to_owned(), exits.io),
            ("mmio".to_owned(), exits.mmio),
            ("hyperv".to_owned(), exits.hyperv),
            ("msr".to_owned(), exits.msr),
            ("interrupted".to_owned(), exits.interrupted),
            ("other".to_owned(), exits.other),
        ]),
    }
}

/// Exits of one machine and of the one before it. What one of them did not count is not known of both.
pub(crate) fn sum_of_exits(earlier: &report::Exits, now: &report::Exits) -> report::Exits {
    let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    let mut by_reason = earlier.by_reason.clone();
    for (reason, count) in &now.by_reason {
        let total = by_reason.entry(reason.clone()).or_default();
        *total = total.saturating_add(*count);
    }
    report::Exits {
        total: sum(earlier.total, now.total),
        user: sum(earlier.user, now.user),
        hypercall_user: sum(earlier.hypercall_user, now.hypercall_user),
        signal_user: sum(earlier.signal_user, now.signal_user),
        by_reason,
    }
}
