//! What a guest's video driver promises of its refresh traffic. A promise that a driver does not make is not checked, and the report
//! says so.

use meter::report::Check;

use super::checks;
use super::refresh::Typed;

/// A bound of a driver's DIRT messages.
struct RateCap {
    driver: &'static str,
    /// The kernel that brought it.
    since: (u32, u32),
    in_1s: u64,
    /// From one refresh of text to the next, by the guest's clock.
    text_period_ms: u64,
}

/// The bounds that are known.
const RATE_CAPS: [RateCap; 2] = [
    // Both refresh timers run at 20 Hz and do not know of each other (`hvfb_update_work` and deferred I/O, 12 jiffies at HZ=250).
    RateCap { driver: "hyperv_fb", since: (0, 0), in_1s: 42, text_period_ms: 48 },
    // A commit waits for the vblank timer ("drm/hypervdrm: Use vblank timer"), which runs at up to 61 Hz. Before it, each commit
    // of a client is a DIRT at once.
    RateCap { driver: "hyperv_drm", since: (6, 19), in_1s: 62, text_period_ms: 16 },
];

/// The check of the busiest second, and of text without a pause if some was printed; or why there is none.
pub(super) fn rate_cap(
    driver: Option<&str>,
    release: Option<&str>,
    busiest: u64,
    typed: Option<Typed>,
) -> Result<Check, String> {
    let version = release.and_then(version).unwrap_or_default();
    let promised = |cap: &&RateCap| Some(cap.driver) == driver && version >= cap.since;
    match RATE_CAPS.iter().find(promised) {
        Some(RateCap { in_1s, text_period_ms, .. }) => {
            let mut detail = format!("{busiest} DIRT in the busiest second, limit is {in_1s}");
            let mut kept = busiest <= *in_1s;
            if let Some(Typed { dirt_messages, guest_ms }) = typed {
                let limit = guest_ms / text_period_ms + BEFORE_AND_AFTER;
                detail = format!("{detail}; {dirt_messages} in {guest_ms} ms of text, limit is {limit}");
                kept &= dirt_messages <= limit;
            }
            Ok(checks::check("rate_cap", kept, detail))
        }
        None => Err(format!(
            "rate: {} of this kernel promises no limit of DIRT messages, so none was checked; the busiest second had {busiest}",
            driver.unwrap_or("the driver")
        )),
    }
}

/// Refreshes that a time holds beside one for each period: what was drawn before it, and the last.
const BEFORE_AND_AFTER: u64 = 2;

/// Whether the driver shows the kernel's last words after a panic: hyperv_fb sends one DIRT of the whole screen before it leaves the
/// bus; hyperv_drm needs drm_panic, and a bus that is left only after that ("During panic do VMBus unload after frame buffer is
/// flushed").
pub(super) fn shows_panic(driver: Option<&str>, release: Option<&str>) -> bool {
    match driver {
        Some("hyperv_drm") => release.and_then(version).unwrap_or_default() >= (7, 1),
        driver => driver == Some("hyperv_fb"),
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
        assert!(rate_cap(Some("hyperv_fb"), Some("6.1.0-56-cloud-amd64"), 42, None).unwrap().passed);
        let check = rate_cap(Some("hyperv_fb"), None, 43, None).unwrap();
        assert!(!check.passed);
        assert_eq!(check.detail, "43 DIRT in the busiest second, limit is 42");
    }

    #[test]
    fn refreshes_of_text_are_held_to_the_guests_own_clock() {
        let typed = |dirt_messages, guest_ms| Some(Typed { dirt_messages, guest_ms });
        for (dirt_messages, guest_ms, passed) in
            [(27, 1200, true), (28, 1200, false), (40, 6000, true), (2, 0, true)]
        {
            let check = rate_cap(Some("hyperv_fb"), None, 20, typed(dirt_messages, guest_ms)).unwrap();
            assert_eq!(check.passed, passed, "{}", check.detail);
        }
        let check = rate_cap(Some("hyperv_fb"), None, 33, typed(40, 1203)).unwrap();
        assert_eq!(
            check.detail,
            "33 DIRT in the busiest second, limit is 42; 40 in 1203 ms of text, limit is 27"
        );
    }

    #[test]
    fn rate_of_hyperv_drm_is_judged_from_the_vblank_timer_on() {
        for release in ["6.19.0", "7.0-rc1", "7.3.4+deb13-amd64", "10.0.1"] {
            assert!(!rate_cap(Some("hyperv_drm"), Some(release), 63, None).unwrap().passed, "{release}");
        }
        for release in [Some("6.12.117+deb12-amd64"), Some("6.1.0-56-amd64"), Some("next"), None] {
            let told = rate_cap(Some("hyperv_drm"), release, 900, None).unwrap_err();
            assert!(told.contains("hyperv_drm") && told.contains("900"), "{told}");
        }
    }

    #[test]
    fn panic_is_shown_by_hyperv_fb_and_by_a_hyperv_drm_with_drm_panic() {
        assert!(shows_panic(Some("hyperv_fb"), Some("6.1.0-56-cloud-amd64")));
        assert!(!shows_panic(Some("hyperv_drm"), Some("6.12.117+deb12-amd64")));
        assert!(shows_panic(Some("hyperv_drm"), Some("7.3.4+deb13-amd64")));
        assert!(!shows_panic(None, Some("7.3.4")));
    }

    #[test]
    fn rate_of_an_unknown_driver_is_told_and_not_judged() {
        let told = rate_cap(None, Some("7.3.4"), 900, None).unwrap_err();
        assert!(told.contains("the driver") && told.contains("900"), "{told}");
    }
}
