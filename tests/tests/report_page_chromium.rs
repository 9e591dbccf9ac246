//! The page of a measurement in a real browser: it shows its plots, asks nobody for anything, and makes no errors.
//!
//! `VMBUS_EMU_KEEP_PAGE=/some/where.html` keeps the page of synthetic data, to be looked at.

#[path = "report_page_chromium/browser.rs"]
mod browser;
#[path = "report_page_chromium/synthetic.rs"]
mod synthetic;

use std::fs;
use std::path::PathBuf;

use browser::Visit;
use display::png::write_png_pixels;
use meter::measurement::Measurement;
use report_page::Pictures;
use tempfile::TempDir;
use tests::bare_metal::requirement::skip;

/// The host that pages of this test try to reach; the name is reserved for not existing.
const ELSEWHERE: &str = "elsewhere.invalid";

fn has_browser() -> bool {
    let version = browser::version();
    match &version {
        Some(version) => println!("{version}"),
        None => skip("chromium", "no chromium in PATH; `cargo xtask setup` installs it"),
    }
    version.is_some()
}

fn visit(html: &str) -> Visit {
    let directory = tempfile::tempdir().expect("a directory");
    browser::visit(&written(&directory, html), &[])
}

fn written(directory: &TempDir, html: &str) -> PathBuf {
    let path = directory.path().join("report.html");
    fs::write(&path, html).expect("writable");
    path
}

/// A page with a picture of the screen.
fn page(measurement: &Measurement) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("screen.png");
    let pixels: Vec<u32> =
        (0..768).flat_map(|y| (0..1024).map(move |x| (x / 4) << 16 | (y / 3) << 8 | 0x60)).collect();
    write_png_pixels(&path, 1024, 768, &pixels).expect("a picture");
    let png = fs::read(&path).expect("the picture");
    report_page::html(measurement, &Pictures { screenshot: Some(&png) })
}

fn assert_quiet(html: &str, visit: &Visit) {
    assert!(visit.requests.is_empty(), "requests left the page: {:?}", visit.requests);
    for domain in browser::BROWSERS_OWN {
        assert!(!html.contains(domain), "the page names {domain}, which the browser calls by itself");
    }
    assert!(visit.console.is_empty(), "the console says: {:?}", visit.console);
}

#[test]
fn page_of_a_rich_measurement_shows_its_plots_and_asks_nobody_for_anything() {
    if !has_browser() {
        return;
    }
    let measurement = synthetic::rich();
    let html = page(&measurement);
    if let Some(path) = std::env::var_os("VMBUS_EMU_KEEP_PAGE") {
        fs::write(path, &html).expect("writable");
    }
    let visit = visit(&html);
    assert_quiet(&html, &visit);
    let count = |what: &str| visit.dom.matches(what).count();
    // Four of the five workloads have a timeline; the fifth was not run.
    assert_eq!(count(r#"class="plot timeline""#), 4);
    assert_eq!(count(r#"class="spark""#), 4);
    // Three of them have all three histograms and maps; the one without a comparison lacks one and two.
    assert_eq!(count(r#"class="plot histogram""#), 3 * 3 + 2);
    assert_eq!(count(r#"class="plot screen heat""#), 3 * 2 + 1);
    assert_eq!(count(r#"class="plot screen miss""#), 3);
    assert_eq!(count(r#"<img src="data:image/png;base64,"#), 1);
    assert_eq!(count("50 ms (20 Hz)"), 4);
    assert_eq!(count("<script"), 0, "the kernel's name became a script");
    assert!(visit.dom.contains("synthetic-6.1 &lt;script&gt;"));
    assert!(visit.dom.trim_end().ends_with("</html>"));
}

#[test]
fn page_of_an_empty_measurement_opens_and_claims_nothing() {
    if !has_browser() {
        return;
    }
    let html = report_page::html(&synthetic::empty(), &Pictures::default());
    let visit = visit(&html);
    assert_quiet(&html, &visit);
    assert_eq!(visit.dom.matches("<svg").count(), 0);
    assert!(visit.dom.contains("Nothing was checked."));
    assert!(visit.dom.matches("not measured").count() > 20);
}

#[test]
fn browser_tells_of_an_error_on_the_console() {
    if !has_browser() {
        return;
    }
    let visit = visit("<!DOCTYPE html><title>error</title><script>console.error('deliberate')</script>");
    assert!(visit.console.iter().any(|line| line.contains("deliberate")), "{visit:?}");
}

#[test]
fn browser_tells_of_a_request_that_leaves_a_page() {
    if !has_browser() {
        return;
    }
    let visit =
        visit(&format!("<!DOCTYPE html><title>request</title><img src='http://{ELSEWHERE}/pixel.png'>"));
    assert!(visit.requests.iter().any(|request| request.contains(ELSEWHERE)), "{visit:?}");
}

#[test]
fn policy_of_the_page_stops_a_picture_and_a_script_that_got_into_it() {
    if !has_browser() {
        return;
    }
    let html = page(&synthetic::empty());
    let smuggled = format!(
        "<main><img src='http://{ELSEWHERE}/pixel.png'><script>document.title = 'taken over'</script>"
    );
    let visit = visit(&html.replacen("<main>", &smuggled, 1));
    assert!(visit.requests.is_empty(), "{:?}", visit.requests);
    assert!(!visit.dom.contains("<title>taken over"), "a script ran");
    assert!(visit.console.iter().any(|line| line.contains("Content Security Policy")), "{:?}", visit.console);
}
