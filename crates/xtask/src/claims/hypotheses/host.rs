//! What the drivers make of a host that answers late or wrongly, refuses a version, or lets the ring fill up.

use super::{Section, console, console_count, every, quoted, row};
use crate::claims::evidence::Evidence;
use crate::claims::page::shown;

/// Whether a run was made with this key, so that no other run's report passes for it.
fn misbehaved(evidence: &Evidence, report: &str, key: &str) -> Option<()> {
    let limits = evidence.value(report, "/limits")?.as_array()?;
    limits.iter().filter_map(serde_json::Value::as_str).find(|limit| limit.ends_with(key)).map(|_| ())
}

/// Whether the driver came up, in a run whose host misbehaved by `key`.
fn came_up(evidence: &Evidence, report: &str, key: &str) -> Option<bool> {
    misbehaved(evidence, report, key)?;
    evidence.check(report, "driver").map(|(passed, _)| passed)
}

fn driver(evidence: &Evidence, report: &str) -> String {
    evidence
        .check(report, "driver")
        .map_or_else(|| "not measured".to_owned(), |(_, detail)| detail.to_owned())
}

pub(super) fn late_or_wrong_ack(evidence: &Evidence) -> Section {
    // Report, key, whether the driver comes up, and what its log says.
    const CASES: [(&str, &str, bool, Option<&str>); 5] = [
        ("ack-late-9-hyperv_fb", "vram-ack=late:9", true, None),
        ("ack-late-12-hyperv_fb", "vram-ack=late:12", false, Some("Time out on waiting vram location ack")),
        ("ack-wrong-hyperv_fb", "vram-ack=wrong-context", false, Some("Unable to set VRAM location")),
        ("ack-late-12-hyperv_drm", "vram-ack=late:12", true, Some("Failed to update vram location")),
        ("ack-wrong-hyperv_drm", "vram-ack=wrong-context", true, Some("Failed to update vram location")),
    ];
    let mut rows = Vec::new();
    let mut parts = Vec::new();
    for (report, key, expected, words) in CASES {
        let up = came_up(evidence, report, key);
        rows.push(row(format!("{report}: driver"), driver(evidence, report)));
        parts.push(up.map(|up| up == expected));
        if let Some(words) = words {
            let line = console(evidence, report, words);
            rows.push(row(format!("{report}: the guest's log"), quoted(line)));
            parts.push(up.map(|_| line.is_some()));
        }
    }
    let enodev = console(evidence, "ack-wrong-hyperv_fb", "(-19)");
    rows.push(row("ack-wrong-hyperv_fb: its probe", quoted(enodev)));
    parts.push(came_up(evidence, "ack-wrong-hyperv_fb", "vram-ack=wrong-context").map(|_| enodev.is_some()));
    Section {
        title: "6. hyperv_fb gives up on a VRAM acknowledgement that is late or wrong, hyperv_drm goes on",
        says: "Both wait 10 s for it. hyperv_fb ends its probe after a time-out, and with -ENODEV after a foreign context; hyperv_drm only \
               warns. The host acknowledges after 9 s, after 12 s, or with another context than the guest's.",
        rows,
        holds: every(&parts),
        reports: &[
            "ack-late-9-hyperv_fb",
            "ack-late-12-hyperv_fb",
            "ack-wrong-hyperv_fb",
            "ack-late-12-hyperv_drm",
            "ack-wrong-hyperv_drm",
        ],
    }
}

pub(super) fn late_ack_ends_the_next_wait(evidence: &Evidence) -> Section {
    let report = "ack-late-12-then-thaw";
    let ran = came_up(evidence, report, "vram-ack=late:12");
    let thawed = evidence.check(report, "hibernate");
    let times = |words: &str| ran.and_then(|_| console_count(evidence, report, words));
    let handshakes = times("Synthvid Version major").filter(|handshakes| *handshakes >= 2);
    let waits = times("Time out on waiting vram location ack");
    let count =
        |count: Option<usize>| count.map_or_else(|| "not measured".to_owned(), |count| count.to_string());
    Section {
        title: "6b. An acknowledgement later than 10 s ends a later wait of the driver",
        says: "The completion is not set up anew before each wait. hyperv_drm comes up without the acknowledgement, gets it 2 s later, and \
               keeps it. After a freeze and a thaw it asks again, and is again answered 12 s later; each of its waits that nothing ends \
               early is a time-out in its log. The kept acknowledgement ends one, and the context that the driver then compares is the \
               one that it has just written into the same buffer itself.",
        rows: vec![
            row("driver", driver(evidence, report)),
            row(
                "hibernate",
                thawed.map_or_else(|| "not measured".to_owned(), |(_, detail)| detail.to_owned()),
            ),
            row("handshakes, each with an acknowledgement after 12 s", count(handshakes)),
            row("time-outs of 10 s", count(waits)),
        ],
        holds: handshakes.zip(waits).zip(thawed).map(|((handshakes, waits), _)| waits < handshakes),
        reports: &["ack-late-12-then-thaw"],
    }
}

pub(super) fn fallback(evidence: &Evidence) -> Section {
    // Report, VMBus version, and whether the driver falls back to 3.2.
    const CASES: [(&str, &str, bool); 5] = [
        ("only-3.2-vmbus-4.0-hyperv_fb", "4.0", true),
        ("only-3.2-vmbus-5.0-hyperv_fb", "5.0", true),
        ("only-3.2-vmbus-5.3-hyperv_fb", "5.3", false),
        ("only-3.2-vmbus-5.0-hyperv_drm", "5.0", true),
        ("only-3.2-vmbus-5.3-hyperv_drm", "5.3", false),
    ];
    let mut rows = Vec::new();
    let mut parts = Vec::new();
    for (report, vmbus, expected) in CASES {
        let bus = evidence.text(report, "/device/vmbus_version");
        let up = evidence.check(report, "driver").map(|(passed, _)| passed);
        let video = evidence.text(report, "/device/synthvid_version");
        let refused = console(evidence, report, "Synthetic video device version not accepted");
        let found = match (up, video, refused) {
            (None, ..) => "not measured".to_owned(),
            (Some(true), Some(video), _) => format!("video protocol {video}"),
            (Some(_), _, refused) => quoted(refused),
        };
        rows.push(row(format!("{report}: VMBus {}", bus.unwrap_or("?")), found));
        parts.push(up.map(|up| {
            let as_expected = if expected { up && video == Some("3.2") } else { !up && refused.is_some() };
            as_expected && bus == Some(vmbus)
        }));
    }
    Section {
        title: "7. The drivers fall back from video protocol 3.5 to 3.2 on VMBus 4.0 and 5.0 only",
        says: "The host accepts nothing above 3.2. On a newer VMBus the drivers try 3.5 alone and give up.",
        rows,
        holds: every(&parts),
        reports: &[
            "only-3.2-vmbus-4.0-hyperv_fb",
            "only-3.2-vmbus-5.0-hyperv_fb",
            "only-3.2-vmbus-5.3-hyperv_fb",
            "only-3.2-vmbus-5.0-hyperv_drm",
            "only-3.2-vmbus-5.3-hyperv_drm",
        ],
    }
}

pub(super) fn full_ring(evidence: &Evidence) -> Section {
    let report = "ring-full-hyperv_drm";
    let ran = misbehaved(evidence, report, "stall=300:45000");
    let limits = evidence.value(report, "/limits").and_then(serde_json::Value::as_array);
    let log = limits.and_then(|limits| {
        let mut told = limits.iter().filter_map(serde_json::Value::as_str);
        told.find(|limit| limit.contains("Unable to send packet via vmbus; error -11"))
    });
    let storm = |key: &str| {
        let workloads = evidence.value(report, "/workloads")?.as_array()?;
        let first =
            workloads.first().filter(|first| first.get("not_run").is_none_or(serde_json::Value::is_null))?;
        first.pointer(key)?.as_f64()
    };
    let (missed, late, stale) = (storm("/missed_px"), storm("/late_px"), storm("/stale/differing"));
    let lost = missed.zip(late).map(|(missed, late)| missed - late);
    let redrawn = evidence.number(report, "fill", "stale/differing");
    Section {
        title: "8. What a full ring refuses is never declared again",
        says: "The guest's ring takes about 4,030 DIRT. The host leaves it alone for 45 s, in which a program sets one pixel after the other \
               through write(2), each in another tile, for 40 s, and holds still for 15 s more. hyperv_drm's send fails with -EAGAIN (-11), \
               and the driver drops the DIRT: after the host has read all that is in the ring, what was dropped stays stale until it is \
               drawn anew. Workload `fill` then draws the whole screen.",
        rows: vec![
            row("DIRT that arrived", shown(storm("/dirt_messages"), "")),
            row("the guest's log", quoted(log)),
            row("changed in VRAM and never declared", shown(lost, "px")),
            row("stale tiles, with everything read and the guest at rest", shown(stale, "")),
            row("stale tiles after the screen was drawn anew", shown(redrawn, "")),
        ],
        holds: every(&[
            ran.map(|()| log.is_some()),
            stale.map(|stale| stale > 0.0),
            redrawn.map(|redrawn| redrawn == 0.0),
        ]),
        reports: &["ring-full-hyperv_drm"],
    }
}
