//! The page as a whole.

use core::fmt::Write as _;

use meter::measurement::Measurement;

use crate::number::{bytes, count};
use crate::text::Text;
use crate::{
    PICTURE_BYTES_MAX, Pictures, WORKLOADS_MAX, checks, data_url, facts, heat_map, summary, workload,
};

const STYLE: &str = include_str!("style.css");

/// Nothing may be fetched, sent or run. Styles and pictures are inside of the page.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Most sentences about limits.
const LIMITS_MAX: usize = 64;

pub(crate) fn html(measurement: &Measurement, pictures: &Pictures<'_>) -> String {
    let kernel = measurement.guest.kernel.as_deref().unwrap_or("unknown kernel");
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Refresh traffic of {kernel}</title><style>{STYLE}</style></head><body>"#,
        kernel = Text(kernel),
    );
    header(&mut out, measurement, kernel);
    out.push_str("<main>");
    checks::section(&mut out, &measurement.checks);
    summary::section(&mut out, measurement);
    let screen = heat_map::screen(measurement.device.mode.as_deref());
    for (at, result) in measurement.workloads.iter().take(WORKLOADS_MAX).enumerate() {
        workload::section(&mut out, at, result, screen);
    }
    if let Some(left) = measurement.workloads.len().checked_sub(WORKLOADS_MAX + 1) {
        let _ = write!(out, r#"<p class="empty">Left out: {} more workloads.</p>"#, count(left as u64 + 1));
    }
    screenshot(&mut out, pictures.screenshot);
    facts::section(&mut out, measurement);
    limits(&mut out, &measurement.limits);
    let _ = writeln!(
        out,
        "</main><footer>vmbus-emu {} &middot; layout {} &middot; this page fetches nothing and runs no script</footer></body></html>",
        Text(&measurement.host.version),
        Text(&measurement.schema)
    );
    out
}

fn header(out: &mut String, measurement: &Measurement, kernel: &str) {
    let guest = &measurement.guest;
    let _ = write!(
        out,
        r#"<header><p class="kind">vmbus-emu &middot; refresh traffic of a Hyper-V synthetic video guest</p><h1>{}{}</h1><p class="lead">{}</p></header>"#,
        Text(kernel),
        if guest.simulated { r#" <span class="badge plain">simulated guest</span>"# } else { "" },
        facts::sentence(measurement),
    );
}

fn screenshot(out: &mut String, png: Option<&[u8]>) {
    out.push_str(r#"<section id="screen"><h2>The screen at the end</h2>"#);
    match png.map(|png| (png, data_url::png_size(png))) {
        None => out.push_str(r#"<p class="empty">No picture was taken.</p>"#),
        Some((_, None)) => {
            out.push_str(r#"<p class="empty">The picture is left out: it is no PNG file.</p>"#)
        }
        Some((png, Some(_))) if png.len() > PICTURE_BYTES_MAX => {
            let _ = write!(
                out,
                r#"<p class="empty">The picture is left out: it has {}, the limit is {}.</p>"#,
                bytes(png.len() as u64),
                bytes(PICTURE_BYTES_MAX as u64)
            );
        }
        Some((png, Some((width, height)))) => {
            let _ = write!(
                out,
                r#"<figure class="wide"><img src="{}" width="{width}" height="{height}" alt="The guest's screen as the host drew it from DIRT messages, {width} by {height} pixels"><figcaption>The host's picture, {width} by {height} pixels, drawn from what the guest declared and from nothing else.</figcaption></figure>"#,
                data_url::png(png)
            );
        }
    }
    out.push_str("</section>");
}

fn limits(out: &mut String, limits: &[String]) {
    out.push_str(r#"<section id="limits"><h2>What this measurement cannot know</h2>"#);
    if limits.is_empty() {
        out.push_str(r#"<p class="empty">No limits are named.</p>"#);
    } else {
        out.push_str("<ul>");
        for limit in limits.iter().take(LIMITS_MAX) {
            let _ = write!(out, "<li>{}</li>", Text(limit));
        }
        out.push_str("</ul>");
        if limits.len() > LIMITS_MAX {
            let _ = write!(out, r#"<p class="empty">Left out: {} more.</p>"#, limits.len() - LIMITS_MAX);
        }
    }
    out.push_str(
        "<p>Three levels are never mixed: <em>declared</em> is what DIRT messages named, <em>written</em> is what KVM's dirty log holds in pages of 4 KiB, and <em>changed</em> is what a comparison of pixels found. <q>Not measured</q> is not zero.</p></section>",
    );
}
