//! What scrolling costs before and after the vblank timer.

use super::{Section, every, row};
use crate::claims::evidence::Evidence;
use crate::claims::page::shown;

/// Least factor between the messages a line before and after. Kelley's is 10,000, at 34 us a line.
const ORDER: f64 = 100.0;
/// What a vblank timer sends at the most.
const VBLANKS_A_SECOND: f64 = 60.0;

/// What a line takes where there are few messages, and what each of the messages beyond those takes, in us.
fn costs(evidence: &Evidence) -> Option<(f64, f64)> {
    let of = |report: &str, key: &str| evidence.number(report, "flood", key);
    let (before, after) = ("flood-before", "flood-after");
    let line = of(after, "duration_ms")? / of(after, "operations").filter(|lines| *lines > 0.0)?;
    let further = of(before, "dirt_messages")? - of(after, "dirt_messages")?;
    let longer = of(before, "duration_ms")? - line * of(before, "operations")?;
    (further > 0.0).then_some((line * 1000.0, longer * 1000.0 / further))
}

pub(super) fn flood(evidence: &Evidence) -> Section {
    const GUESTS: [(&str, &str); 4] = [
        ("hyperv_drm before the vblank timer (6.12)", "flood-before"),
        ("hyperv_drm before the vblank timer (6.1)", "flood-before-6.1"),
        ("hyperv_drm with it (7.x)", "flood-after"),
        ("hyperv_fb (6.1)", "flood-hyperv_fb"),
    ];
    let number = |report: &str, key: &str| evidence.number(report, "flood", key);
    let messages_by = |report: &str, key: &str| {
        Some(number(report, "dirt_messages")? / number(report, key).filter(|number| *number > 0.0)?)
    };
    let per_line = |report: &str| messages_by(report, "operations");
    let a_second = |report: &str| messages_by(report, "duration_ms").map(|per_ms| per_ms * 1000.0);
    let mut rows = Vec::new();
    for (guest, report) in GUESTS {
        rows.push(row(format!("{guest}: lines"), shown(number(report, "operations"), "")));
        rows.push(row(format!("{guest}: DIRT messages"), shown(number(report, "dirt_messages"), "")));
        rows.push(row(format!("{guest}: took"), shown(number(report, "duration_ms"), "ms")));
        rows.push(row(format!("{guest}: DIRT a second"), shown(a_second(report), "")));
        rows.push(row(
            format!("{guest}: DIRT for 1000 lines"),
            shown(per_line(report).map(|per| per * 1000.0), ""),
        ));
    }
    let (before, after, fb) =
        (per_line("flood-before"), per_line("flood-after"), per_line("flood-hyperv_fb"));
    let times = |other: Option<f64>| {
        before.zip(other.filter(|other| *other > 0.0)).map(|(before, other)| before / other)
    };
    let (of_after, of_fb) = (times(after), times(fb));
    rows.push(row("before / after, messages a line", shown(of_after, "")));
    rows.push(row("before / hyperv_fb, messages a line", shown(of_fb, "")));
    let (line_us, message_us) = costs(evidence).unzip();
    rows.push(row("a line takes the guest of 7.x, its few messages with it", shown(line_us, "us")));
    rows.push(row("each further message takes that of 6.12", shown(message_us, "us")));
    Section {
        title: "9. Without the vblank timer hyperv_drm's messages go with the lines that scroll, with it with the time",
        says: "Michael Kelley published, for 1024 x 1024 lines of 64 characters on Hyper-V: about 3,000,000 messages in 34 s, 3 a line, before \
               52e6b1988334 (\"drm/hypervdrm: Use vblank timer\"), and after it a few hundred in some 24 s, as with hyperv_fb at its 20 a second. \
               Here one percent of that is printed. What his lines held is not known; here they are alike, so that a message stands for one \
               line of text, as 34 s for 3,000,000 messages leave no time for copies of the screen. Asked for is the order of both: before, \
               at least one message a line; after, no more than the 60 a second of a vblank; and at least 100 times as many \
               messages a line before as after, or with hyperv_fb. His own factor, 10,000, is that of a machine which prints a line in 34 us, \
               and follows from the two: where a line takes longer, more time passes in which the timer sends. Without the timer the \
               driver's worker sends as often as it gets the processor, and merges what has come until then.",
        rows,
        holds: every(&[
            before.map(|before| before >= 1.0),
            a_second("flood-after").map(|after| after <= VBLANKS_A_SECOND),
            of_after.map(|times| times >= ORDER),
            of_fb.map(|times| times >= ORDER),
        ]),
        reports: &["flood-before", "flood-before-6.1", "flood-after", "flood-hyperv_fb"],
    }
}
