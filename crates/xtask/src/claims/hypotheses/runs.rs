//! What is run for the hypotheses.

use std::path::Path;
use std::process::Command;

use crate::claims::run::{Run, run};
use crate::failure::Failure;
use crate::process;

/// 6.1 and 6.12 are what stands for the driver before the vblank timer, 7.x for the one with it.
pub(in crate::claims) const RUNS: [Run; 21] = [
    // The host wants no DIRT, and wants it again; nobody repaints.
    run(
        "again-hyperv_fb",
        "measure --guest debian/6.1-cloud --device hyperv-synthvid,repaint=strict --grace 2000 --cost --workload lines,idle",
    ),
    run(
        "again-hyperv_drm",
        "measure --guest debian/6.1 --device hyperv-synthvid,repaint=strict --grace 2000 --cost --workload lines,idle",
    ),
    // A frame buffer that ends in the middle of a page.
    run(
        "800x600-hyperv_fb",
        "measure --guest debian/6.1-cloud --device hyperv-synthvid,mode=800x600 --grace 2000 --workload lastrow,fill",
    ),
    // A mode set, with and without the host's repaint.
    run("enable-repaint-implied", "run --guest debian/6.1 --scenario demo"),
    run(
        "enable-repaint-strict",
        "run --guest debian/6.1 --scenario demo --device hyperv-synthvid,repaint=strict",
    ),
    // Acknowledgements that are late or wrong.
    run(
        "ack-late-9-hyperv_fb",
        "run --guest debian/6.1-cloud --scenario boot --device hyperv-synthvid,vram-ack=late:9",
    ),
    run(
        "ack-late-12-hyperv_fb",
        "run --guest debian/6.1-cloud --scenario boot --device hyperv-synthvid,vram-ack=late:12",
    ),
    run(
        "ack-wrong-hyperv_fb",
        "run --guest debian/6.1-cloud --scenario boot --device hyperv-synthvid,vram-ack=wrong-context",
    ),
    run(
        "ack-late-12-hyperv_drm",
        "run --guest debian/6.1 --scenario boot --device hyperv-synthvid,vram-ack=late:12",
    ),
    run(
        "ack-wrong-hyperv_drm",
        "run --guest debian/6.1 --scenario boot --device hyperv-synthvid,vram-ack=wrong-context",
    ),
    run(
        "ack-late-12-then-thaw",
        "run --guest debian/6.1 --scenario suspend --device hyperv-synthvid,vram-ack=late:12",
    ),
    // Video protocol 3.5 is refused.
    run(
        "only-3.2-vmbus-4.0-hyperv_fb",
        "run --guest debian/6.1-cloud --scenario boot --vmbus-version 4.0 --device hyperv-synthvid,version=3.2",
    ),
    run(
        "only-3.2-vmbus-5.0-hyperv_fb",
        "run --guest debian/6.1-cloud --scenario boot --vmbus-version 5.0 --device hyperv-synthvid,version=3.2",
    ),
    run(
        "only-3.2-vmbus-5.3-hyperv_fb",
        "run --guest debian/6.1-cloud --scenario boot --vmbus-version 5.3 --device hyperv-synthvid,version=3.2",
    ),
    run(
        "only-3.2-vmbus-5.0-hyperv_drm",
        "run --guest debian/6.1 --scenario boot --vmbus-version 5.0 --device hyperv-synthvid,version=3.2",
    ),
    run(
        "only-3.2-vmbus-5.3-hyperv_drm",
        "run --guest debian/6.1 --scenario boot --vmbus-version 5.3 --device hyperv-synthvid,version=3.2",
    ),
    // Nobody looks into the ring for 45 s, in which one small DIRT follows the other; then the screen is drawn anew.
    run(
        "ring-full-hyperv_drm",
        "measure --guest debian/6.1 --device hyperv-synthvid,stall=300:45000 --grace 2000 --workload exec:PIXEL-STORM,fill",
    ),
    // Scrolling, where a message costs the guest as little as it can here: one virtual processor, nobody looks into its VRAM.
    run("flood-before", "measure --guest debian/6.12 --cpus 1 --no-oracle --workload flood --scale 1"),
    run("flood-before-6.1", "measure --guest debian/6.1 --cpus 1 --no-oracle --workload flood --scale 1"),
    run("flood-after", "measure --guest debian/7.x --cpus 1 --no-oracle --workload flood --scale 1"),
    run(
        "flood-hyperv_fb",
        "measure --guest debian/6.1-cloud --cpus 1 --no-oracle --workload flood --scale 1",
    ),
];

/// Builds the static program `tests/programs/pixel-storm.rs` into `scratch`.
pub(in crate::claims) fn program(root: &Path, scratch: &Path) -> Result<(), Failure> {
    let mut build = Command::new("rustc");
    build.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-o"]);
    build.arg(scratch.join("pixel-storm")).arg(root.join("tests/programs/pixel-storm.rs"));
    process::run(&mut build)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_run_has_a_name_and_a_command_of_its_own() {
        let names: BTreeSet<&str> = RUNS.iter().map(|run| run.name).collect();
        let words: BTreeSet<&str> = RUNS.iter().map(|run| run.words).collect();
        assert_eq!((names.len(), words.len()), (RUNS.len(), RUNS.len()));
    }
}
