//! The budgets that ship inside of the program, for Linux's own drivers.

use super::Budget;

/// A budget of the program's own.
struct Stock {
    driver: &'static str,
    /// The first kernel that it holds for.
    since: (u32, u32),
    text: &'static str,
}

/// The newest of a driver first.
const STOCK: [Stock; 3] = [
    Stock { driver: "hyperv_fb", since: (0, 0), text: include_str!("../../budgets/hyperv_fb.toml") },
    // "drm/hypervdrm: Use vblank timer".
    Stock {
        driver: "hyperv_drm",
        since: (6, 19),
        text: include_str!("../../budgets/hyperv_drm-vblank.toml"),
    },
    Stock { driver: "hyperv_drm", since: (0, 0), text: include_str!("../../budgets/hyperv_drm.toml") },
];

/// The budget of `driver` in the kernel `release`. A release that says no version is taken to be an early one, which has fewer
/// promises to keep.
pub(super) fn budget(driver: &str, release: Option<&str>) -> Option<Budget> {
    let version = release.and_then(version).unwrap_or_default();
    let stock = STOCK.iter().find(|stock| stock.driver == driver && version >= stock.since)?;
    Some(stock.text.parse().expect("a test reads every budget of the program's own"))
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_of_the_programs_own_is_one() {
        for stock in &STOCK {
            let budget: Budget = stock.text.parse().expect(stock.driver);
            assert_eq!(budget.limit("box", "missed_px"), Some(0.0), "{}", stock.driver);
        }
    }

    #[test]
    fn drivers_with_a_bounded_rate_never_fill_their_ring() {
        for (driver, release, limit) in [
            ("hyperv_fb", "6.1.0", Some(0.0)),
            ("hyperv_drm", "6.19.0", Some(0.0)),
            ("hyperv_drm", "6.12.0", None),
        ] {
            let budget = budget(driver, Some(release)).expect("a known driver");
            assert_eq!(budget.limit("box", "ring_full"), limit, "{driver} of {release}");
        }
    }

    #[test]
    fn rate_of_hyperv_drm_is_bounded_from_the_vblank_timer_on() {
        for (release, limit) in [
            (Some("6.12.117+deb12-amd64"), None),
            (None, None),
            (Some("6.19.0"), Some(63.0)),
            (Some("7.0-rc1"), Some(63.0)),
        ] {
            let budget = budget("hyperv_drm", release).expect("a known driver");
            assert_eq!(budget.limit("scroll", "dirt_in_1s"), limit, "{release:?}");
        }
        assert_eq!(budget("bochs", Some("7.0")), None);
    }
}
