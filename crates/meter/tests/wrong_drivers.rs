//! Measurements of drivers that are wrong on purpose, as `docs/claims` keeps them, against the program's own budget: each breaks
//! the limit that its mistake is about.

use std::fs;
use std::path::Path;

use meter::budget::Budget;
use meter::measurement::Measurement;

/// The measurement of `driver`, and the checks of the program's budget that it breaks today.
fn broken(driver: &str) -> Vec<String> {
    let claims = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/claims");
    let path = claims.join(format!("{driver}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let measurement: Measurement = serde_json::from_str(&text).expect("a measurement");
    let guest = &measurement.guest;
    let budget = Budget::stock(guest.driver.as_deref(), guest.kernel.as_deref()).expect("a known driver");
    let checks = budget.evaluate(&measurement);
    // A report from before a quantity was measured breaks its limit; that is not the driver's mistake.
    let failed = checks.into_iter().filter(|check| !check.passed && !check.detail.contains("not measured"));
    failed.map(|check| check.name).collect()
}

#[test]
fn each_wrong_driver_breaks_the_limit_of_its_mistake() {
    for (driver, limit) in [
        ("full-refresh-20hz", "idle.max_dirt_per_s"),
        ("last-row-missing", "lastrow.max_missed_px"),
        ("no-shadow-copy", "fill.max_stale_tiles"),
        ("refresh-60hz", "video60.max_dirt_per_s"),
        ("drop-one-in-ten", "box.max_missed_px"),
        ("dirt-when-unwanted", "box.max_unwanted_dirt"),
    ] {
        let broken = broken(driver);
        assert!(broken.iter().any(|name| name == limit), "{driver} breaks {broken:?}");
    }
}

#[test]
fn pixels_that_never_reach_vram_are_stale_and_not_missed() {
    let broken = broken("no-shadow-copy");
    assert!(broken.iter().all(|name| !name.ends_with("missed_px")), "{broken:?}");
}

#[test]
fn stock_driver_breaks_no_limit() {
    assert_eq!(broken("stock"), Vec::<String>::new());
}
