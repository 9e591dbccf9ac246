//! What a workload cost.

use core::fmt::Write as _;

use meter::measurement::Costs;

use crate::number::{NOT_MEASURED, count, count_or_none, micros, millis, percent, significant, with_unit};
use crate::text::Text;

/// Most reasons for exits that are listed.
const REASONS_MAX: usize = 16;

pub(crate) fn block(out: &mut String, costs: &Costs) {
    out.push_str(r#"<div class="costs"><div><h4>Costs</h4><dl>"#);
    let time = |us: Option<u64>| micros(us.map(|us| us as f64));
    for (name, value) in [
        ("Exits, those the kernel handled included", count_or_none(costs.exits_total)),
        ("Exits to the program", count_or_none(costs.exits_user)),
        (
            "\u{2026} for each DIRT",
            costs.exits_user_per_dirt.map_or_else(|| NOT_MEASURED.to_owned(), significant),
        ),
        ("Processor time of the event thread", time(costs.host_cpu_us)),
        ("\u{2026} for each DIRT", micros(costs.host_cpu_us_per_dirt)),
        ("\u{2026} for each MiB declared", micros(costs.host_cpu_us_per_mib)),
        ("\u{2026} of which for comparing pixels", time(costs.oracle_cpu_us)),
        ("Processor time of the vCPU threads", time(costs.vcpu_cpu_us)),
        (
            "Processor time in the guest, by its own count",
            costs.guest_cpu_ms.map_or_else(|| with_unit(None, ""), |ms| millis(ms as f64)),
        ),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>{value}</dd>");
    }
    out.push_str("</dl></div>");
    reasons(out, costs);
    out.push_str("</div>");
}

fn reasons(out: &mut String, costs: &Costs) {
    out.push_str("<div><h4>Exits by reason</h4>");
    let mut reasons: Vec<_> = costs.exits_by_reason.iter().collect();
    if reasons.is_empty() {
        out.push_str(r#"<p class="empty">not measured</p></div>"#);
        return;
    }
    reasons.sort_by_key(|(name, exits)| (core::cmp::Reverse(**exits), *name));
    let most = reasons.first().map_or(0, |(_, exits)| **exits);
    out.push_str(r#"<table class="bars"><thead class="unseen"><tr><th scope="col">reason</th><th scope="col">part</th><th scope="col">exits</th></tr></thead><tbody>"#);
    for (name, exits) in reasons.iter().take(REASONS_MAX) {
        let part = percent(**exits, most).unwrap_or(0.0);
        let _ = write!(
            out,
            r#"<tr><th scope="row"><code>{}</code></th><td><span style="width:{part:.1}%"></span></td><td>{}</td></tr>"#,
            Text(name),
            count(**exits)
        );
    }
    out.push_str("</tbody></table>");
    if reasons.len() > REASONS_MAX {
        let _ =
            write!(out, r#"<p class="small">Left out: {} rarer reasons.</p>"#, reasons.len() - REASONS_MAX);
    }
    out.push_str("</div>");
}
