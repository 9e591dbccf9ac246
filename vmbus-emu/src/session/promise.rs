//! What a guest's video driver promises of its refresh traffic. A promise that a driver does not make is not checked, and the report
//! says so.

use meter::report::Check;

use super::checks;

/// A bound of a driver's DIRT messages.
struct RateCap {
    driver: &'static str,
    /// The kernel that brought it.
    since: (u32, u32),
    in_1s: u64,
}

/// The bounds that are known.
const RATE_CAPS: [RateCap; 2] = [
    // Both refresh timers run at 20 Hz and do not know of each other (`hvfb_update_work` and deferred I/O, 12 jiffies at HZ=250).
    RateCap { driver: "hyperv_fb", since: (0, 0), in_1s: 42 },
    // A commit waits for the vblank timer ("drm/hypervdrm: Use vblank timer"), which runs at up to 61 Hz. Before it, each commit
    // of a client is a DIRT at once.
    RateCap { driver: "hyperv_drm", since: (6, 19), in_1s: 62 },
];

/// The check of the busiest second, or why there is none.
pub(super) fn rate_cap(driver: Option<&str>, release: Option<&str>, busiest: u64) -> Result<Check, String> {
    let version = release.and_then(version).unwrap_or_default();
    let promised = |cap: &&RateCap| Some(cap.driver) == driver && version >= cap.since;
    match RATE_CAPS.iter().find(promised) {
        Some(RateCap { in_1s, .. }) => {
            let detail = format!("{busiest} DIRT in the busiest second, limit is {in_1s}");
            Ok(checks::check("rate_cap", busiest <= *in_1s, detail))
        }
        None => Err(format!(
            "rate: {} of this kernel promises no limit of DIRT messages, so none was checked; the busiest second had {busiest}",
            driver.unwrap_or("the driver")
        )),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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
        assert!(rate_cap(Some("hyperv_fb"), Some("6.1.0-56-cloud-amd64"), 42).unwrap().passed);
        let check = rate_cap(Some("hyperv_fb"), None, 43).unwrap();
        assert!(!check.passed);
        assert_eq!(check.detail, "43 DIRT in the busiest second, limit is 42");
    }

    #[test]
    fn rate_of_hyperv_drm_is_judged_from_the_vblank_timer_on() {
        for release in ["6.19.0", "7.0-rc1", "7.3.4+deb13-amd64", "10.0.1"] {
            assert!(!rate_cap(Some("hyperv_drm"), Some(release), 63).unwrap().passed, "{release}");
        }
        for release in [Some("6.12.117+deb12-amd64"), Some("6.1.0-56-amd64"), Some("next"), None] {
            let told = rate_cap(Some("hyperv_drm"), release, 900).unwrap_err();
            assert!(told.contains("hyperv_drm") && told.contains("900"), "{told}");
        }
    }

    #[test]
    fn rate_of_an_unknown_driver_is_told_and_not_judged() {
        let told = rate_cap(None, Some("7.3.4"), 900).unwrap_err();
        assert!(told.contains("the driver") && told.contains("900"), "{told}");
    }
}
