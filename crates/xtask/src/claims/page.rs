//! The page: one section a claim, with its numbers and the verdict that they give.

use std::fmt::Write as _;

use super::VCPUS;
use super::evidence::Evidence;
use super::section::{Section, Verdicts};

const VERDICTS: Verdicts = Verdicts { kind: "claim", holds: "holds", fails: "does not hold here" };

/// The whole page.
pub(super) fn markdown(evidence: &Evidence) -> String {
    let mut page = String::from(HEAD);
    let fact = |pointer: &str| evidence.text("stock", pointer).unwrap_or("not measured");
    let _ = writeln!(
        page,
        "\nMeasured with {} {} (`{}`), KVM: {}, its clock: {}, SynIC: {}, screen {}, VRAM in {}.\n",
        fact("/guest/package"),
        fact("/guest/version"),
        fact("/guest/driver"),
        fact("/host/kvm"),
        evidence.text("stock", "/host/lab_clock").unwrap_or("the host's"),
        fact("/host/synic"),
        fact("/device/mode"),
        fact("/device/vram/kind"),
    );
    let claims = claims(evidence);
    VERDICTS.table(&mut page, &claims);
    for claim in &claims {
        let reports: Vec<String> =
            claim.reports.iter().map(|name| format!("[{name}](claims/{name}.json)")).collect();
        VERDICTS.section(&mut page, claim, &format!("Raw: {}.", reports.join(", ")));
    }
    page
}

const HEAD: &str = "# What the deferred I/O series claims, measured\n\n\
    Made by `cargo xtask claims` from the reports in `docs/claims/`; every number and every verdict is worked out from them, none is \
    typed in. `cargo xtask claims --page` makes the page again without measuring.\n\n\
    *Before* is a build of Debian's own driver source with one edit that puts back what the series changed, under \
    `tests/drivers/`; so are the other wrong drivers. Times in the KVM lab are those of an emulated machine whose processor takes a \
    nanosecond for each instruction: compare them with each other only. What is missed or stale is the driver's and holds anywhere; how many \
    messages a picture takes depends on how long drawing it does.\n";

fn claims(evidence: &Evidence) -> Vec<Section> {
    vec![
        only_what_changed(evidence),
        small_box(evidence),
        at_most_twenty(evidence),
        last_row(evidence),
        silence(evidence),
        vcpus(evidence),
        shadow_copy(evidence),
        corners(evidence),
        write_is_lost(evidence),
        close_is_kept(evidence),
    ]
}

pub(super) fn shown(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "not measured".to_owned(),
        Some(value) if value.fract() == 0.0 || value >= 1000.0 => {
            format!("{value:.0} {unit}").trim_end().to_owned()
        }
        Some(value) => format!("{value:.2} {unit}").trim_end().to_owned(),
    }
}

fn row(name: &str, value: Option<f64>, unit: &str) -> (String, String) {
    (name.to_owned(), shown(value, unit))
}

fn only_what_changed(evidence: &Evidence) -> Section {
    let px = |report| evidence.per_second(report, "idle", "declared_px");
    let messages = |report| evidence.per_second(report, "idle", "dirt_messages");
    let (before, after) = (px("full-refresh-20hz"), px("stock"));
    Section {
        title: "An idle screen costs nothing",
        says: "Before the series the driver declared the whole screen 20 times a second, idle or not; after it, only what changed.",
        rows: vec![
            row("before: DIRT messages a second, idle", messages("full-refresh-20hz"), ""),
            row("before: declared, idle", before, "px/s"),
            row("after: DIRT messages a second, idle", messages("stock"), ""),
            row("after: declared, idle", after, "px/s"),
            row(
                "after, with a blinking cursor: declared",
                evidence.per_second("stock", "cursor", "declared_px"),
                "px/s",
            ),
        ],
        holds: before.zip(after).map(|(before, after)| before > 0.0 && after <= before / 1000.0),
        reports: &["full-refresh-20hz", "stock"],
    }
}

fn small_box(evidence: &Evidence) -> Section {
    let px = |report| evidence.per_second(report, "box", "declared_px");
    let changed = evidence.per_second("stock", "box", "changed_px");
    let (before, after) = (px("full-refresh-20hz"), px("stock"));
    let ratio = before.zip(after).map(|(before, after)| before / after.max(1.0));
    Section {
        title: "A small box declares a small part of the screen",
        says: "A box of 64 x 64 pixels moves at 30 Hz. Deferred I/O declares whole rows of the screen, so more than the box, and much \
               less than the screen.",
        rows: vec![
            row("before: declared", before, "px/s"),
            row("after: declared", after, "px/s"),
            row("after: really changed", changed, "px/s"),
            row("before / after", ratio, ""),
        ],
        holds: ratio.map(|ratio| ratio > 2.0),
        reports: &["full-refresh-20hz", "stock"],
    }
}

fn at_most_twenty(evidence: &Evidence) -> Section {
    let busiest = |report, workload| evidence.number(report, workload, "max_dirt_in_1s");
    let (stock, wrong) = (busiest("stock", "video60"), busiest("refresh-60hz", "video60"));
    Section {
        title: "At most 20 messages a second",
        says: "The driver's delayed work and deferred I/O each run every HZ/20 jiffies: 12 at HZ=250, so 48 ms and not quite 21 times a \
               second. One of them alone stays at 21 in any second, whatever is drawn.",
        rows: vec![
            row("60 Hz video: DIRT in the busiest second", stock, ""),
            row("60 Hz video: median interval", evidence.number("stock", "video60", "interval_ms/p50"), "ms"),
            row("text: DIRT in the busiest second", busiest("stock", "lines"), ""),
            row("a driver that refreshes at 60 Hz: DIRT in the busiest second", wrong, ""),
        ],
        holds: stock.zip(wrong).map(|(stock, wrong)| stock <= 21.0 && wrong > 21.0),
        reports: &["stock", "refresh-60hz"],
    }
}

fn last_row(evidence: &Evidence) -> Section {
    let missed = |report| evidence.number(report, "lastrow", "missed_px");
    let changed = |report| evidence.number(report, "lastrow", "changed_px");
    let (stock, wrong) = (missed("stock"), missed("last-row-missing"));
    Section {
        title: "The last row is declared, too (v2)",
        says: "The first version passed the last row's number where the row behind it was meant, so the last row of each refresh was \
               never declared.",
        rows: vec![
            row("last row drawn: changed", changed("stock"), "px"),
            row("missed", stock, "px"),
            row("with the first version's mistake: changed", changed("last-row-missing"), "px"),
            row("with the first version's mistake: missed", wrong, "px"),
        ],
        holds: stock.zip(wrong).map(|(stock, wrong)| stock == 0.0 && wrong > 0.0),
        reports: &["stock", "last-row-missing"],
    }
}

fn silence(evidence: &Evidence) -> Section {
    let (stock, wrong) = (
        evidence.check("demo-stock", "silent_when_unwanted"),
        evidence.check("demo-dirt-when-unwanted", "silent_when_unwanted"),
    );
    let detail = |check: Option<(bool, &str)>| {
        check.map_or_else(|| "not measured".to_owned(), |(_, detail)| detail.to_owned())
    };
    Section {
        title: "Nothing while nobody looks (v6)",
        says: "The host says by FEATURE_CHANGE that it wants no dirt, as Hyper-V does when the last window on the machine closes.",
        rows: vec![
            ("the driver".to_owned(), detail(stock)),
            ("a driver that forgets to ask (v5)".to_owned(), detail(wrong)),
        ],
        holds: stock.zip(wrong).map(|((stock, _), (wrong, _))| stock && !wrong),
        reports: &["demo-stock", "demo-dirt-when-unwanted"],
    }
}

fn vcpus(evidence: &Evidence) -> Section {
    let first = |vcpus: u32| {
        evidence.value(&format!("boot-{vcpus}"), "/traffic/first_dirt_ms").and_then(serde_json::Value::as_f64)
    };
    let boot = |vcpus: u32| {
        evidence.value(&format!("boot-{vcpus}"), "/guest/boot_ms").and_then(serde_json::Value::as_f64)
    };
    let rows = VCPUS.iter().map(|vcpus| {
        let value = format!(
            "first DIRT after {}, init after {}",
            shown(first(*vcpus), "ms"),
            shown(boot(*vcpus), "ms")
        );
        (format!("virtual processors: {vcpus}"), value)
    });
    // What the driver itself needs: from init, which loads it, to its first DIRT.
    let own = |vcpus| first(vcpus).zip(boot(vcpus)).map(|(first, boot)| first - boot);
    let (one, most) = (own(1), own(VCPUS[VCPUS.len() - 1]));
    Section {
        title: "No delay with many virtual processors (v4)",
        says: "The fourth version took a lock away that was held with interrupts disabled, because guests with many processors booted \
               slowly. Here: from the start of the guest, whose processors the KVM lab's single one takes in turn, so the whole boot \
               grows; what the driver itself takes, from init to its first DIRT, may not grow faster than the number of processors.",
        rows: rows.collect(),
        holds: one.zip(most).map(|(one, most)| one > 0.0 && most / one <= f64::from(VCPUS[VCPUS.len() - 1])),
        reports: &["boot-1", "boot-2", "boot-4", "boot-8"],
    }
}

fn shadow_copy(evidence: &Evidence) -> Section {
    let cpu = |report| evidence.number(report, "fill", "costs/guest_cpu_ms");
    let stale = |report| evidence.number(report, "fill", "stale/differing");
    let (with, without) = (cpu("stock"), cpu("no-shadow-copy"));
    Section {
        title: "The shadow copy costs the guest time",
        says: "In a Generation 2 guest, and in any whose VRAM is in the MMIO window, the driver draws into a shadow and copies to VRAM \
               before each DIRT. Its commit message argues that the host's gain outweighs this. The same driver without the copy shows a \
               wrong picture and what the copy costs.",
        rows: vec![
            row("whole-screen fills: guest processor time", with, "ms"),
            row("without the copy: guest processor time", without, "ms"),
            row("stale tiles", stale("stock"), ""),
            row("without the copy: stale tiles", stale("no-shadow-copy"), ""),
        ],
        holds: with
            .zip(without)
            .zip(stale("no-shadow-copy"))
            .map(|((with, without), stale)| with > without && stale > 0.0),
        reports: &["stock", "no-shadow-copy"],
    }
}

fn corners(evidence: &Evidence) -> Section {
    let declared = evidence.number("stock", "corners", "declared_px");
    let changed = evidence.number("stock", "corners", "changed_px");
    let ratio = declared.zip(changed).map(|(declared, changed)| declared / changed.max(1.0));
    Section {
        title: "Two far pixels declare everything between them",
        says: "No claim of the series but a hypothesis from reading it: deferred I/O declares one band of rows, so two pixels in opposite \
               corners cost the whole screen.",
        rows: vec![
            row("declared", declared, "px"),
            row("changed", changed, "px"),
            row("declared / changed", ratio, ""),
        ],
        holds: ratio.map(|ratio| ratio > 1000.0),
        reports: &["stock"],
    }
}

fn write_is_lost(evidence: &Evidence) -> Section {
    let declared = evidence.number("stock", "write", "declared_px");
    let stale = evidence.number("stock", "write", "stale/differing");
    Section {
        title: "What write(2) draws is never refreshed",
        says: "A hypothesis from reading the driver: its damage callback for write(2) on /dev/fb0 is empty, so that nothing is copied and \
               nothing declared. The periodic refresh before the series showed such pixels.",
        rows: vec![row("declared", declared, "px"), row("stale tiles", stale, "")],
        holds: stale.map(|stale| stale > 0.0),
        reports: &["stock"],
    }
}

fn close_is_kept(evidence: &Evidence) -> Section {
    let stale = evidence.number("stock", "close", "stale/differing");
    let missed = evidence.number("stock", "close", "missed_px");
    Section {
        title: "What was drawn right before close(2) arrives",
        says: "Deferred I/O once lost what a client drew just before it closed the frame buffer (mended by 3efc61d95259 in Linux 5.19).",
        rows: vec![row("stale tiles", stale, ""), row("missed", missed, "px")],
        holds: stale.zip(missed).map(|(stale, missed)| stale == 0.0 && missed == 0.0),
        reports: &["stock"],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lastrow(missed_px: Value) -> Value {
        json!({"workloads": [{"name": "lastrow", "not_run": null, "duration_ms": 1000.0, "changed_px": 10, "missed_px": missed_px}]})
    }

    #[test]
    fn verdict_follows_the_numbers() {
        let holds = |stock: Value, wrong: Value| {
            last_row(&Evidence::of([("stock", lastrow(stock)), ("last-row-missing", lastrow(wrong))])).holds
        };
        assert_eq!(holds(json!(0), json!(7)), Some(true));
        assert_eq!(holds(json!(3), json!(7)), Some(false));
        assert_eq!(holds(json!(0), json!(0)), Some(false));
        assert_eq!(holds(json!(0), json!(null)), None);
    }

    #[test]
    fn page_without_reports_says_that_nothing_was_measured() {
        let page = markdown(&Evidence::default());
        assert!(page.contains("| The last row is declared, too (v2) | not measured |"), "{page}");
        assert!(!page.contains("| holds |"), "{page}");
    }

    #[test]
    fn workload_that_did_not_run_counts_as_not_measured() {
        let mut report = lastrow(json!(0));
        report["workloads"][0]["not_run"] = json!("no mapping");
        let evidence = Evidence::of([("stock", report)]);
        assert_eq!(evidence.number("stock", "lastrow", "missed_px"), None);
    }
}
