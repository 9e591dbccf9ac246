//! Hypotheses from reading the two drivers' source, each with the runs that decide it.

mod drivers;
mod host;
mod runs;
mod traffic;

pub(super) use runs::{RUNS, program};

use super::evidence::Evidence;
use super::run;
use super::section::{Section, Verdicts};

const VERDICTS: Verdicts = Verdicts { kind: "hypothesis", holds: "confirmed", fails: "refuted here" };

/// The whole page.
pub(super) fn markdown(evidence: &Evidence) -> String {
    let mut page = format!("{HEAD}\n");
    let all = all(evidence);
    VERDICTS.table(&mut page, &all);
    for one in &all {
        VERDICTS.section(&mut page, one, &run::raw(evidence, one, &RUNS));
    }
    page
}

const HEAD: &str = "# Hypotheses from reading the drivers, measured\n\n\
    Made by `cargo xtask claims` from the reports in `docs/claims/`; every number and every verdict is worked out from them, none is \
    typed in. `cargo xtask claims --page` makes the page again without measuring, `--only TEXT` measures the runs whose name has TEXT in \
    it. Reports are kept without their heat maps and timelines, which no verdict uses.\n\n\
    The guests are Debian's: 6.1-cloud for `hyperv_fb`, 6.1 and 6.12 for `hyperv_drm` before the vblank timer, 7.x with it. Runs in the KVM lab \
    are of an emulated machine whose clock goes by instructions, a nanosecond each: their times and rates say nothing about a real \
    machine. `vram-ack` and `stall` are test equipment: \
    they make the host misbehave, and a report says so in its `limits`.\n";

fn all(evidence: &Evidence) -> Vec<Section> {
    vec![
        drivers::write_is_lost(evidence),
        drivers::no_redraw_when_wanted_again(evidence),
        drivers::rectangle_beyond_the_screen(evidence),
        drivers::blit_without_dirt(evidence),
        drivers::far_pixels(evidence),
        host::late_or_wrong_ack(evidence),
        host::late_ack_ends_the_next_wait(evidence),
        host::fallback(evidence),
        host::full_ring(evidence),
        traffic::flood(evidence),
    ]
}

/// All of them, if all are known and hold; `None` if one is not known.
fn every(parts: &[Option<bool>]) -> Option<bool> {
    parts.iter().copied().collect::<Option<Vec<bool>>>().map(|parts| parts.into_iter().all(|part| part))
}

fn row(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

/// What the guest's log says, as the run's report keeps its end.
fn console<'a>(evidence: &'a Evidence, report: &str, words: &str) -> Option<&'a str> {
    let lines = evidence.value(report, "/console/tail")?.as_array()?;
    lines.iter().filter_map(serde_json::Value::as_str).map(str::trim).find(|line| line.contains(words))
}

/// How many of those lines have `words`; `None` without a log.
fn console_count(evidence: &Evidence, report: &str, words: &str) -> Option<usize> {
    let lines = evidence.value(report, "/console/tail")?.as_array()?;
    Some(lines.iter().filter_map(serde_json::Value::as_str).filter(|line| line.contains(words)).count())
}

/// A cell of a table: a line of a log.
fn quoted(line: Option<&str>) -> String {
    line.map_or_else(
        || "no such line".to_owned(),
        |line| format!("`{}`", line.replace('|', "/").replace('`', "'")),
    )
}

#[cfg(test)]
mod tests;
