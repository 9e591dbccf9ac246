//! Outcomes as a table on a terminal, as Markdown and as JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::run::{Outcome, Verdict};

/// Heads of the columns, and the cells below them; of a series also what depends on the number of processors.
fn cells(outcomes: &[Outcome], series: bool) -> Vec<Vec<String>> {
    let mut head = vec!["row", "VMBus", "synthvid", "mode", "VRAM", "first DIRT ms"];
    if series {
        head = vec!["row", "vCPUs", "kernel to init ms", "first DIRT ms", "VMM KiB"];
    }
    head.push("verdict");
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let rows = outcomes.iter().map(|outcome| {
        let dirt = outcome.first_dirt_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        let mut row = vec![outcome.name.clone()];
        if series {
            row.extend([count(outcome.vcpus), count(outcome.boot_ms), dirt, count(outcome.vmm_memory_kib)]);
        } else {
            row.extend([&outcome.vmbus, &outcome.synthvid, &outcome.mode, &outcome.vram].map(text));
            row.push(dirt);
        }
        row.push(outcome.verdict.to_string());
        row
    });
    std::iter::once(head.into_iter().map(str::to_owned).collect()).chain(rows).collect()
}

/// Columns padded to the widest cell.
pub(super) fn text(outcomes: &[Outcome], series: bool) -> String {
    let rows = cells(outcomes, series);
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

/// A Markdown table.
pub(super) fn markdown(outcomes: &[Outcome], series: bool) -> String {
    let rows = cells(outcomes, series);
    let line = |row: &[String]| {
        let escaped: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", escaped.join(" | "))
    };
    let mut text = String::new();
    for (place, row) in rows.iter().enumerate() {
        text.push_str(&line(row));
        if place == 0 {
            text.push_str(&format!("|{}\n", "---|".repeat(row.len())));
        }
    }
    text
}

/// One document with every row.
pub(super) fn json(outcomes: &[Outcome]) -> String {
    format!("{:#}\n", json!({ "schema": "vmbus-emu.matrix/1", "rows": outcomes }))
}

/// The line that sums up.
pub(super) fn summary(outcomes: &[Outcome]) -> String {
    let count =
        |counts: fn(&Verdict) -> bool| outcomes.iter().filter(|outcome| counts(&outcome.verdict)).count();
    format!(
        "{} passed, {} at a guest's limit, {} failed",
        count(|verdict| matches!(verdict, Verdict::Pass | Verdict::Refused(_))),
        count(|verdict| matches!(verdict, Verdict::GuestLimit(_))),
        count(|verdict| matches!(verdict, Verdict::Fail(_)))
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn outcomes() -> Vec<Outcome> {
        let good = Outcome {
            name: "6.1-gen1-kernel".into(),
            arguments: vec!["run".into()],
            kvm: Some("lab".into()),
            vmbus: Some("5.3".into()),
            synthvid: Some("3.5".into()),
            mode: Some("1024x768".into()),
            vram: Some("mmio".into()),
            vcpus: Some(2),
            boot_ms: Some(900),
            first_dirt_ms: Some(1234.5678),
            vmm_memory_kib: Some(20_000),
            took_ms: 5_000,
            verdict: Verdict::Pass,
        };
        let limit = Verdict::GuestLimit("gives up: \"a | b\"".into());
        let bad =
            Outcome { name: "x".into(), mode: None, first_dirt_ms: None, verdict: limit, ..good.clone() };
        vec![good, bad]
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = text(&outcomes(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "6.1-gen1-kernel  5.3    3.5       1024x768  mmio  1235           pass");
        assert_eq!(lines[0].find("verdict"), lines[1].find("pass"));
        assert_eq!(lines[2].find("guest limit"), lines[1].find("pass"));
        let series = super::text(&outcomes(), true);
        assert!(series.lines().nth(1).unwrap().contains("20000"), "{series}");
    }

    #[test]
    fn markdown_has_as_many_cells_in_each_line() {
        for series in [false, true] {
            let table = markdown(&outcomes(), series).replace("\\|", "");
            let bars: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(bars.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
        }
    }

    #[test]
    fn json_names_verdict_and_reason_of_each_row() {
        let value: Value = serde_json::from_str(&json(&outcomes())).unwrap();
        assert_eq!(value.pointer("/rows/0/verdict"), Some(&Value::from("pass")));
        assert_eq!(value.pointer("/rows/1/verdict"), Some(&Value::from("guest_limit")));
        assert_eq!(value.pointer("/rows/1/mode"), Some(&Value::Null));
        assert_eq!(summary(&outcomes()), "1 passed, 1 at a guest's limit, 0 failed");
    }
}
