//! What the drivers themselves do, whatever the host does.

use super::{Section, every, row};
use crate::claims::evidence::Evidence;
use crate::claims::page::shown;

pub(super) fn write_is_lost(evidence: &Evidence) -> Section {
    let declared = evidence.number("stock", "write", "declared_px");
    let stale = evidence.number("stock", "write", "stale/differing");
    Section {
        title: "1. write(2) on /dev/fb0 is never refreshed by hyperv_fb",
        says: "The damage callback for write(2) is empty. Workload `write`.",
        rows: vec![row("declared", shown(declared, "px")), row("stale tiles", shown(stale, ""))],
        holds: declared.zip(stale).map(|(declared, stale)| declared == 0.0 && stale > 0.0),
        reports: &["stock"],
    }
}

pub(super) fn no_redraw_when_wanted_again(evidence: &Evidence) -> Section {
    let mut rows = Vec::new();
    let mut parts = Vec::new();
    for (driver, report) in [("hyperv_fb", "again-hyperv_fb"), ("hyperv_drm", "again-hyperv_drm")] {
        for workload in ["lines", "idle"] {
            let dirt = evidence.number(report, workload, "unwanted/dirt_when_wanted_again");
            let changed = evidence.number(report, workload, "unwanted/changed_px");
            let what = format!("{driver}, `{workload}` while no dirt was wanted");
            rows.push(row(format!("{what}: changed in VRAM"), shown(changed, "px")));
            rows.push(row(format!("{what}: DIRT after it was wanted again"), shown(dirt, "")));
            parts.push(dirt.map(|dirt| dirt == 0.0));
            // Nothing to declare would prove nothing.
            parts.push(changed.map(|changed| changed > 0.0 || workload == "idle"));
        }
    }
    Section {
        title: "2. After FEATURE_CHANGE(dirt=0) and then (dirt=1) neither driver redraws",
        says: "The host says that it wants no dirt, the guest draws, the host says that it wants dirt again, and the guest draws nothing \
               more for at least two seconds. The host waits for a DIRT and repaints nothing by itself (`repaint=strict`).",
        rows,
        holds: every(&parts),
        reports: &["again-hyperv_fb", "again-hyperv_drm"],
    }
}

pub(super) fn rectangle_beyond_the_screen(evidence: &Evidence) -> Section {
    let report = "800x600-hyperv_fb";
    let mut rows = Vec::new();
    let mut lost = Vec::new();
    for workload in ["lastrow", "fill"] {
        let dirt = evidence.number(report, workload, "dirt_messages");
        let missed = evidence.number(report, workload, "missed_px");
        let stale = evidence.number(report, workload, "stale/differing");
        rows.push(row(format!("`{workload}`: DIRT"), shown(dirt, "")));
        rows.push(row(format!("`{workload}`: missed"), shown(missed, "px")));
        rows.push(row(format!("`{workload}`: stale tiles"), shown(stale, "")));
        lost.push(
            dirt.zip(missed)
                .zip(stale)
                .map(|((dirt, missed), stale)| dirt == 0.0 || missed > 0.0 || stale > 0.0),
        );
    }
    let lost = lost.into_iter().collect::<Option<Vec<bool>>>();
    Section {
        title: "3. hyperv_fb loses a refresh that reaches beyond the screen, where it could clamp it",
        says: "`hvfb_update_work` leaves without a word if an edge lies beyond the screen. At 800x600 the frame buffer ends 3 KiB into its \
               last page, so a refresh of that page reaches row 601 of 600. If such a rectangle were dropped, the last row would be \
               missed. By the driver's source deferred I/O does not pass through `hvfb_update_work`, and `synthvid_update`, which it \
               calls, clamps; only what the console draws passes through it. The return without a word is in the source all the same; \
               what is measured here is whether a drawing program can reach it.",
        rows,
        holds: lost.map(|lost| lost.contains(&true)),
        reports: &["800x600-hyperv_fb"],
    }
}

/// How many pixels a picture has wrong, as the check of a pattern says it.
fn after_mode_set<'a>(evidence: &'a Evidence, report: &str) -> Option<&'a str> {
    const LEFT_OUT: &str = "mode set through KMS: ";
    let limits = evidence.value(report, "/limits")?.as_array()?;
    let told =
        limits.iter().filter_map(serde_json::Value::as_str).find(|limit| limit.starts_with(LEFT_OUT))?;
    told.split_once("the picture is not judged: ").map(|(_, detail)| detail)
}

pub(super) fn blit_without_dirt(evidence: &Evidence) -> Section {
    let implied = evidence.check("enable-repaint-implied", "kms_mode_set");
    let strict = after_mode_set(evidence, "enable-repaint-strict");
    let pages = evidence.number("again-hyperv_drm", "lines", "unwanted/written_pages");
    let changed = evidence.number("again-hyperv_drm", "lines", "unwanted/changed_px");
    let unwanted = evidence.number("again-hyperv_drm", "lines", "unwanted_dirt");
    let not_measured = || "not measured".to_owned();
    let unwanted_blit = pages.zip(changed).map(|(pages, changed)| pages > 0.0 && changed > 0.0);
    Section {
        title: "4. hyperv_drm blits without DIRT: on enable, and while no dirt is wanted",
        says: "A mode set through KMS writes the whole picture to VRAM. A host that repaints by itself after the new situation then has \
               all of it; one that waits for a DIRT has not. While no dirt is wanted, KVM's log of written pages shows whether VRAM is \
               written all the same.",
        rows: vec![
            row(
                "mode set, the host repaints",
                implied.map_or_else(not_measured, |(_, detail)| detail.to_owned()),
            ),
            row("mode set, the host waits for DIRT", strict.map_or_else(not_measured, str::to_owned)),
            row("text while no dirt is wanted: pages written", shown(pages, "")),
            row("text while no dirt is wanted: changed in VRAM", shown(changed, "px")),
            row("text while no dirt is wanted: DIRT", shown(unwanted, "")),
        ],
        holds: every(&[
            implied.map(|(passed, _)| passed),
            strict.map(|detail| !detail.ends_with(" exact")),
            unwanted_blit,
            unwanted.map(|unwanted| unwanted == 0.0),
        ]),
        reports: &["enable-repaint-implied", "enable-repaint-strict", "again-hyperv_drm"],
    }
}

pub(super) fn far_pixels(evidence: &Evidence) -> Section {
    let declared = evidence.number("stock", "corners", "declared_px");
    let changed = evidence.number("stock", "corners", "changed_px");
    let ratio = declared.zip(changed).map(|(declared, changed)| declared / changed.max(1.0));
    Section {
        title: "5. Two far pixels declare everything between them",
        says: "Deferred I/O declares the full width from the first to the last row that changed. Workload `corners`.",
        rows: vec![
            row("declared", shown(declared, "px")),
            row("changed", shown(changed, "px")),
            row("declared / changed", shown(ratio, "")),
        ],
        holds: ratio.map(|ratio| ratio > 1000.0),
        reports: &["stock"],
    }
}
