//! The combinations, and what guest and host must agree on in each.

use super::guest_limits::{GuestLimit, NOT_BELOW_3_2, ONLY_3_5};
use crate::failure::Failure;

/// A guest by name.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: &'static str,
    /// What it is called in the name of a row.
    short: &'static str,
    driver: Driver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Fb,
    Drm,
}

impl Driver {
    /// The screen that it takes where the host cannot offer any: `SCREEN_WIDTH_WIN8` and `_HEIGHT_WIN8` of either driver
    /// (hyperv_fb's own default is smaller).
    const fn mode_without_offer(self) -> &'static str {
        match self {
            Self::Fb => "1152x864",
            Self::Drm => "1600x1200",
        }
    }
}

/// Every guest that has a name.
pub(super) const GUESTS: [Guest; 5] = [
    Guest { name: "debian/6.1-cloud", short: "6.1-cloud", driver: Driver::Fb },
    Guest { name: "debian/6.1", short: "6.1", driver: Driver::Drm },
    Guest { name: "debian/6.12-cloud", short: "6.12-cloud", driver: Driver::Fb },
    Guest { name: "debian/6.12", short: "6.12", driver: Driver::Drm },
    Guest { name: "debian/7.x", short: "7.x", driver: Driver::Drm },
];
/// One guest of each driver, for what does not depend on the kernel.
const FB: &Guest = &GUESTS[0];
const DRM: &Guest = &GUESTS[1];

/// VMBus versions below the newest, each with the video protocol that Linux takes on it.
const VMBUS_VERSIONS: [(&str, &str); 7] = [
    ("5.2", "3.5"),
    ("5.1", "3.5"),
    ("5.0", "3.5"),
    ("4.1", "3.5"),
    ("4.0", "3.5"),
    ("3.0", "3.2"),
    ("2.4", "3.2"),
];

/// Screens with the least VRAM that is offered for them, in MiB.
const MODES: [(&str, u32); 11] = [
    ("640x480", 8),
    ("800x600", 8),
    ("1024x768", 8),
    ("1280x720", 8),
    ("1280x1024", 8),
    ("1600x1200", 8),
    ("1920x1080", 8),
    ("1920x1200", 16),
    ("2560x1440", 16),
    ("3840x2160", 32),
    ("7680x4320", 128),
];
/// Screens that hyperv_drm has too: those of VESA's list up to 61 Hz.
const DRM_MODES: [(&str, u32); 4] = [("640x480", 8), ("1280x1024", 8), ("1920x1080", 8), ("2560x1600", 16)];

/// Seconds for a guest; the largest screens are slow to fill in an emulated machine.
const TIMEOUT: u32 = 600;

/// One run, and what must come of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) guest: &'static str,
    scenario: &'static str,
    words: Vec<String>,
    pub(super) expect: Expect,
}

/// What must come of a row.
#[derive(Debug)]
pub(super) enum Expect {
    /// The run passes every check, and its report says this.
    Passes(Agreed),
    /// The guest cannot do it, and its log proves it.
    Limit(&'static GuestLimit),
    /// The program refuses to start, in words that hold this.
    Refused(&'static str),
}

/// What guest and host must have agreed on, as far as the row is about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) vmbus: Option<&'static str>,
    pub(super) synthvid: Option<&'static str>,
    pub(super) mode: Option<&'static str>,
    pub(super) vram: Option<&'static str>,
}

impl Row {
    fn new(name: String, guest: &Guest, words: &[&str], expect: Expect) -> Self {
        // A guest that gives up draws nothing.
        let scenario = if matches!(expect, Expect::Limit(_)) { "boot" } else { "demo" };
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Self { name, guest: guest.name, scenario, words, expect }
    }

    /// The command line after the program's name, without where results go.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> =
            ["run", "--guest", self.guest, "--scenario", self.scenario].map(str::to_owned).into();
        words.extend(["--timeout".to_owned(), TIMEOUT.to_string()]);
        words.extend(self.words.iter().cloned());
        words
    }
}

/// Every combination.
pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for guest in &GUESTS {
        for generation in ["1", "2"] {
            for synic in ["kernel", "user"] {
                rows.push(machine(guest, generation, synic));
            }
        }
    }
    for guest in [FB, DRM] {
        rows.extend(vram(guest));
        rows.extend(VMBUS_VERSIONS.map(|(vmbus, synthvid)| vmbus_version(guest, vmbus, synthvid)));
        rows.extend(video_versions(guest));
    }
    rows.extend(MODES.map(|(mode, vram)| offered_mode(FB, mode, vram)));
    rows.extend(DRM_MODES.map(|(mode, vram)| offered_mode(DRM, mode, vram)));
    rows.extend([FB, DRM].map(list_whose_edges_do_not_fit));
    rows.push(mode_that_does_not_fit());
    rows.extend([FB, DRM].map(firmware_framebuffer));
    rows.push(firmware_framebuffer_without_firmware());
    rows
}

/// Rows that between them see each VMBus and video protocol family, a refusal, and Generation 2.
pub(super) fn fast() -> Vec<Row> {
    let mut rows = vec![
        machine(FB, "2", "user"),
        vmbus_version(FB, "4.0", "3.5"),
        vmbus_version(FB, "2.4", "3.2"),
        mode_that_does_not_fit(),
    ];
    rows.extend(video_versions(FB));
    rows
}

/// The same boot with more and more processors, of the first of `guests` or else of the usual guest.
pub(super) fn cpu_series(counts: &[u32], guests: &[String]) -> Result<Vec<Row>, Failure> {
    let guest = match guests {
        [] => Some(FB),
        [name, ..] => GUESTS.iter().find(|guest| guest.name == name),
    };
    let Some(guest) = guest else {
        return Err(Failure::check(format!("--guest: unknown guest \"{}\"", guests.join(","))));
    };
    let row = |count: &u32| Row {
        scenario: "boot",
        ..Row::new(
            format!("{}-cpus-{count}", guest.short),
            guest,
            &["--cpus", &count.to_string()],
            Expect::Passes(Agreed::default()),
        )
    };
    Ok(counts.iter().map(row).collect())
}

fn machine(guest: &Guest, generation: &str, synic: &str) -> Row {
    Row::new(
        format!("{}-gen{generation}-{synic}", guest.short),
        guest,
        &["--generation", generation, "--synic", synic],
        Expect::Passes(Agreed {
            vmbus: Some("5.3"),
            synthvid: Some("3.5"),
            mode: Some("1024x768"),
            vram: Some("mmio"),
        }),
    )
}

/// Where VRAM lies: hyperv_fb of Generation 1 takes it from RAM if it is one allocation of the buddy system, 4 MiB.
fn vram(guest: &Guest) -> Vec<Row> {
    let row = |generation: &str, kind| {
        Row::new(
            format!("{}-gen{generation}-vram-4M", guest.short),
            guest,
            &["--generation", generation, "--device", "hyperv-synthvid,vram=4M"],
            Expect::Passes(Agreed { vram: Some(kind), ..Agreed::default() }),
        )
    };
    let first = if guest.driver == Driver::Fb { "ram" } else { "mmio" };
    vec![row("1", first), row("2", "mmio")]
}

fn vmbus_version(guest: &Guest, vmbus: &'static str, synthvid: &'static str) -> Row {
    let mode = if synthvid == "3.2" { guest.driver.mode_without_offer() } else { "1024x768" };
    Row::new(
        format!("{}-vmbus-{vmbus}", guest.short),
        guest,
        &["--vmbus-version", vmbus],
        Expect::Passes(Agreed { vmbus: Some(vmbus), synthvid: Some(synthvid), mode: Some(mode), vram: None }),
    )
}

/// Video protocol versions that the host accepts at most, on VMBus versions on which the driver falls back and does not.
fn video_versions(guest: &Guest) -> Vec<Row> {
    let row = |version: &str, vmbus: &str, expect| {
        Row::new(
            format!("{}-synthvid-{version}-on-vmbus-{vmbus}", guest.short),
            guest,
            &["--vmbus-version", vmbus, "--device", &format!("hyperv-synthvid,version={version}")],
            expect,
        )
    };
    let fallback = Agreed {
        vmbus: Some("4.0"),
        synthvid: Some("3.2"),
        mode: Some(guest.driver.mode_without_offer()),
        vram: None,
    };
    vec![
        row("3.2", "4.0", Expect::Passes(fallback)),
        row("3.2", "5.3", Expect::Limit(&ONLY_3_5)),
        row("3.0", "4.0", Expect::Limit(&NOT_BELOW_3_2)),
    ]
}

fn offered_mode(guest: &Guest, mode: &'static str, vram: u32) -> Row {
    Row::new(
        format!("{}-mode-{mode}", guest.short),
        guest,
        &["--memory", "1G", "--device", &format!("hyperv-synthvid,vram={vram}M,mode={mode}")],
        Expect::Passes(Agreed { mode: Some(mode), ..Agreed::default() }),
    )
}

/// The widest and the highest mode of this list do not fit together, though each mode does ("video: hyperv: hyperv_fb: Fix
/// validation of screen resolution").
fn list_whose_edges_do_not_fit(guest: &Guest) -> Row {
    Row::new(
        format!("{}-list-1600x1200-1920x1080", guest.short),
        guest,
        &["--device", "hyperv-synthvid,vram=8M,modes=[1600x1200,1920x1080]"],
        Expect::Passes(Agreed { mode: Some("1600x1200"), ..Agreed::default() }),
    )
}

fn mode_that_does_not_fit() -> Row {
    Row::new(
        "mode-beyond-vram".to_owned(),
        FB,
        &["--device", "hyperv-synthvid,vram=4M,mode=1920x1080"],
        Expect::Refused("mode 1920x1080 needs 8294400 bytes of VRAM"),
    )
}

/// efifb comes first, and the video driver takes over from it.
fn firmware_framebuffer(guest: &Guest) -> Row {
    Row::new(
        format!("{}-gen2-firmware-framebuffer", guest.short),
        guest,
        &["--generation", "2", "--firmware-framebuffer"],
        Expect::Passes(Agreed { mode: Some("1024x768"), vram: Some("mmio"), ..Agreed::default() }),
    )
}

fn firmware_framebuffer_without_firmware() -> Row {
    Row::new(
        "firmware-framebuffer-in-gen1".to_owned(),
        FB,
        &["--generation", "1", "--firmware-framebuffer"],
        Expect::Refused("a machine of Generation 1 boots without firmware"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_machine_of_every_guest_has_a_row_and_no_two_rows_share_a_name() {
        let rows = all();
        for guest in &GUESTS {
            let machines = rows.iter().filter(|row| row.guest == guest.name && row.name.contains("-gen"));
            assert!(machines.count() >= 4, "{}", guest.name);
        }
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
        assert!(names.iter().all(|name| !name.contains('/')), "a name is a directory");
    }

    #[test]
    fn rows_for_ci_are_among_all_rows() {
        let all: BTreeSet<String> = all().into_iter().map(|row| row.name).collect();
        let fast = fast();
        assert!((4..=8).contains(&fast.len()));
        assert!(fast.iter().all(|row| all.contains(&row.name)), "{fast:?}");
    }

    #[test]
    fn processors_make_a_series_of_one_guest() {
        let rows = cpu_series(&[1, 64], &["debian/6.12".to_owned()]).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["6.12-cpus-1", "6.12-cpus-64"]);
        assert!(rows[1].arguments().ends_with(&["--cpus".to_owned(), "64".to_owned()]));
    }
}
