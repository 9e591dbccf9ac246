//! What a guest's video driver promises of its refresh traffic. A promise that a driver does not make is not checked, and the report
//! says so.

use meter::report::Check;

use super::checks;

/// Drivers that bound their DIRT messages by timers: name, and most messages in one second.
///
/// Both refresh timers of hyperv_fb run at 20 Hz and do not know of each other (`hvfb_update_work` and deferred I/O, 12 jiffies
/// at HZ=250). hyperv_drm sends one for every commit that its clients make.
const RATE_CAPS: [(&str, u64); 1] = [("hyperv_fb", 42)];

/// The check of the busiest second, or why there is none.
pub(super) fn rate_cap(driver: Option<&str>, busiest: u64) -> Result<Check, String> {
    match RATE_CAPS.iter().find(|(name, _)| Some(*name) == driver) {
        Some((_, limit)) => {
            let detail = format!("{busiest} DIRT in the busiest second, limit is {limit}");
            Ok(checks::check("rate_cap", busiest <= *limit, detail))
        }
        None => Err(format!(
            "rate: {} promises no limit of DIRT messages, so none was checked; the busiest second had {busiest}",
            driver.unwrap_or("the driver")
        )),
    }
}

/// Whether the driver has KMS beside its frame buffer.
pub(super) fn has_kms(driver: Option<&str>) -> bool {
    driver == Some("hyperv_drm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_of_hyperv_fb_is_held_to_both_of_its_timers() {
        assert!(rate_cap(Some("hyperv_fb"), 42).unwrap().passed);
        let check = rate_cap(Some("hyperv_fb"), 43).unwrap();
        assert!(!check.passed);
        assert_eq!(check.detail, "43 DIRT in the busiest second, limit is 42");
    }

    #[test]
    fn rate_of_another_driver_is_told_and_not_judged() {
        for (driver, name) in [(Some("hyperv_drm"), "hyperv_drm"), (None, "the driver")] {
            let told = rate_cap(driver, 900).unwrap_err();
            assert!(told.contains(name) && told.contains("900"), "{told}");
        }
    }
}
