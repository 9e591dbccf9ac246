//! What the user reads of a comparison.

use comfy_table::{CellAlignment, Table, presets};
use meter::compare::{Comparison, LEVEL, Row, Rule, Sample, Verdict};

/// Quantities that are shown whether they differ or not.
const ALWAYS: [&str; 8] = [
    "dirt_per_s",
    "declared_px",
    "changed_px",
    "over_declaration",
    "missed_px",
    "doorbell_to_surface_p50_us",
    "exits_user",
    "host_cpu_us_per_mib",
];

/// Prints the table, the rule, and how many numbers were compared.
pub(super) fn print(comparison: &Comparison) {
    let Comparison { a, b, rows, limits, .. } = comparison;
    println!("A: {} ({} runs)\nB: {} ({} runs)\n", a.guest, a.runs, b.guest, b.runs);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["workload", "quantity", "A (least - most)", "B (least - most)", "change", "p", "B is"]);
    for row in rows.iter().filter(|row| shown(row)) {
        table.add_row(cells(row));
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}\n");
    let judged = rows.iter().filter(|row| !matches!(row.verdict, Verdict::NotMeasured | Verdict::TooFewRuns));
    let judged = judged.count();
    let differ = rows.iter().filter(|row| differs(row)).count();
    println!("{differ} of {judged} numbers that could be judged differ; the others are not distinguishable.");
    match comparison.rule {
        Rule::Permutation => println!(
            "Rule: exact permutation test over all numbers at once, level {LEVEL}, and medians apart by more than the \
             tolerance."
        ),
        Rule::Tolerance => {}
    }
    for limit in limits {
        println!("note: {limit}");
    }
}

/// The numbers in which B does worse, one phrase each.
pub(super) fn worse(comparison: &Comparison) -> impl Iterator<Item = String> {
    comparison.worse().map(|row| {
        let median = |sample: Option<Sample>| sample.map_or_else(String::new, |sample| number(sample.median));
        format!("{} {}: {} after {}", row.workload, row.quantity, median(row.b), median(row.a))
    })
}

fn shown(row: &Row) -> bool {
    differs(row) || ALWAYS.contains(&row.quantity.as_str())
}

fn differs(row: &Row) -> bool {
    matches!(row.verdict, Verdict::Better | Verdict::Worse | Verdict::Different)
}

fn cells(row: &Row) -> [String; 7] {
    let change = row.change_percent.map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} %"));
    let p = row.p.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}"));
    let verdict = match (row.verdict, row.hint) {
        (Verdict::Better, true) => "better?",
        (Verdict::Worse, true) => "worse?",
        (Verdict::Different, true) => "different?",
        (verdict, _) => settled(verdict),
    };
    [row.workload.clone(), row.quantity.clone(), sample(row.a), sample(row.b), change, p, verdict.to_owned()]
}

/// A verdict that is no hint.
fn settled(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::Different => "different",
        Verdict::NotDistinguishable => "not distinguishable",
        Verdict::NotMeasured => "not measured",
        Verdict::TooFewRuns => "not judged",
    }
}

fn sample(sample: Option<Sample>) -> String {
    match sample {
        None => "-".to_owned(),
        Some(Sample { median, min, max }) if min == max => number(median),
        Some(Sample { median, min, max }) => {
            format!("{} ({} - {})", number(median), number(min), number(max))
        }
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
