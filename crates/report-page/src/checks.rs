//! The verdict: failed checks first.

use core::fmt::Write as _;

use meter::report::Check;

use crate::text::Text;

/// Most checks that are listed, failed ones first.
const CHECKS_MAX: usize = 200;
/// Up to so many passed checks are shown without being asked for.
const OPEN_MAX: usize = 6;

pub(crate) fn section(out: &mut String, checks: &[Check]) {
    let (passed, failed): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.passed);
    let (class, word, sentence) = match (failed.len(), passed.len()) {
        (0, 0) => ("unknown", "No verdict", "Nothing was checked.".to_owned()),
        (0, n) => ("pass", "Passed", format!("All {n} checks passed.")),
        (n, _) => ("fail", "Failed", format!("{n} of {} checks failed.", checks.len())),
    };
    let _ = write!(
        out,
        r#"<section id="verdict" class="verdict {class}"><h2><span class="sign" aria-hidden="true"></span>{word}</h2><p>{sentence}</p>"#
    );
    if !failed.is_empty() {
        list(out, failed.iter().take(CHECKS_MAX), "failed");
    }
    let room = CHECKS_MAX.saturating_sub(failed.len());
    if !passed.is_empty() && room > 0 {
        let open = if failed.is_empty() && passed.len() <= OPEN_MAX { " open" } else { "" };
        let _ = write!(out, "<details{open}><summary>{} passed</summary>", passed.len());
        list(out, passed.iter().take(room), "passed");
        out.push_str("</details>");
    }
    if checks.len() > CHECKS_MAX {
        let _ = write!(out, r#"<p class="empty">Left out: {} more checks.</p>"#, checks.len() - CHECKS_MAX);
    }
    out.push_str("</section>");
}

fn list<'a>(out: &mut String, checks: impl Iterator<Item = &'a &'a Check>, class: &str) {
    let _ = write!(out, r#"<ul class="checks {class}">"#);
    for check in checks {
        let _ = write!(
            out,
            r#"<li><b class="badge {class}">{class}</b><code>{}</code><span>{}</span></li>"#,
            Text(&check.name),
            Text(&check.detail)
        );
    }
    out.push_str("</ul>");
}
