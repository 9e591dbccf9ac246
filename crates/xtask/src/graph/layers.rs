//! The layer table: the one place that says which package may use which.
//!
//! ARCHITECTURE.md explains it; this decides.

/// A package's place.
#[derive(Debug)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: &'static str,
    /// Its layer; uses go to lower ones only.
    pub(super) layer: u8,
    /// Packages of ours that its code may use.
    pub(super) may_use: &'static [&'static str],
    /// Further packages of ours that its tests may use.
    pub(super) tests_may_use: &'static [&'static str],
    /// Packages, ours or not, that must not be in its build at all, however they would get there.
    pub(super) never: &'static [&'static str],
    /// It is a protocol: no I/O, so no standard library.
    pub(super) no_std: bool,
}

const PLAIN: Package =
    Package { name: "", layer: 0, may_use: &[], tests_may_use: &[], never: &[], no_std: false };

/// What lets a protocol crate reach outside.
const IO: &[&str] = &["event-manager", "kvm-ioctls", "libc", "tracing", "vm-memory", "vmm-sys-util"];

/// Every package of the workspace.
pub(super) const LAYERS: &[Package] = &[
    Package { name: "hv-abi", never: IO, no_std: true, ..PLAIN },
    Package { name: "synthvid", never: IO, no_std: true, ..PLAIN },
    Package { name: "synthinput", never: IO, no_std: true, ..PLAIN },
    Package { name: "vmbus", layer: 1, may_use: &["hv-abi"], never: IO, no_std: true, ..PLAIN },
    Package {
        name: "synic",
        layer: 1,
        may_use: &["hv-abi"],
        never: &["kvm-bindings", "kvm-ioctls"],
        ..PLAIN
    },
    Package {
        name: "surface",
        layer: 1,
        may_use: &["synthvid"],
        never: &["image", "kvm-bindings", "kvm-ioctls"],
        ..PLAIN
    },
    Package {
        name: "device-model",
        layer: 2,
        may_use: &["hv-abi", "surface", "synic", "synthinput", "synthvid", "vmbus"],
        tests_may_use: &["guest-sim"],
        never: &["hv-kvm", "image", "kvm-bindings", "kvm-ioctls", "vhost"],
        ..PLAIN
    },
    Package {
        name: "hv-kvm",
        layer: 2,
        may_use: &["hv-abi", "surface", "synic"],
        never: &["device-model", "vmbus"],
        ..PLAIN
    },
    Package {
        name: "guest-sim",
        layer: 2,
        // surface, because the memory of a simulated guest is what a device maps VRAM from.
        may_use: &["hv-abi", "surface", "synic", "synthvid", "vmbus"],
        never: &["device-model", "kvm-bindings", "kvm-ioctls"],
        ..PLAIN
    },
    Package {
        name: "meter",
        layer: 3,
        may_use: &["device-model", "surface", "synthvid", "vmbus"],
        tests_may_use: &["guest-sim"],
        never: &["hv-kvm", "image", "kvm-ioctls"],
        ..PLAIN
    },
    Package {
        name: "oracle",
        layer: 3,
        may_use: &["device-model", "surface", "synthvid", "vmbus"],
        tests_may_use: &["guest-sim"],
        never: &["hv-kvm", "image", "kvm-ioctls"],
        ..PLAIN
    },
    Package { name: "guest-agent", layer: 3, never: &["kvm-ioctls"], ..PLAIN },
    Package {
        name: "display",
        layer: 4,
        may_use: &["meter", "surface"],
        tests_may_use: &["synthvid"],
        never: &["hv-kvm", "kvm-ioctls"],
        ..PLAIN
    },
    Package {
        name: "report-page",
        layer: 4,
        // Pictures come to it as the bytes of a PNG file, so that a page can be made where nothing can be drawn.
        may_use: &["meter"],
        never: &["hv-kvm", "image", "kvm-ioctls"],
        ..PLAIN
    },
    Package { name: "guest-kit", layer: 4, may_use: &["guest-agent"], never: &["device-model"], ..PLAIN },
    Package {
        name: "vmbus-emu",
        layer: 5,
        // guest-sim is here for `vmbus-emu sim`, which runs where there is no KVM at all.
        may_use: &[
            "device-model",
            "display",
            "guest-agent",
            "guest-kit",
            "guest-sim",
            "hv-abi",
            "hv-kvm",
            "meter",
            "oracle",
            "report-page",
            "surface",
            "synic",
            "synthinput",
            "synthvid",
            "vmbus",
        ],
        ..PLAIN
    },
    Package {
        name: "tests",
        layer: 6,
        may_use: &[
            "device-model",
            "display",
            "guest-agent",
            "guest-kit",
            "guest-sim",
            "hv-abi",
            "hv-kvm",
            "meter",
            "oracle",
            "report-page",
            "surface",
            "synic",
            "synthinput",
            "synthvid",
            "vmbus",
        ],
        tests_may_use: &["vmbus-emu"],
        ..PLAIN
    },
    // Builds in seconds on a machine that has nothing else yet, because it uses nothing of ours.
    Package { name: "xtask", layer: 6, ..PLAIN },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_itself_only_points_down() {
        let layer = |name: &str| LAYERS.iter().find(|package| package.name == name).unwrap().layer;
        for package in LAYERS {
            for used in package.may_use {
                assert!(layer(used) < package.layer, "{} -> {used}", package.name);
            }
            for used in package.tests_may_use {
                assert!(layer(used) <= package.layer, "{} -> {used}", package.name);
                let back = LAYERS.iter().find(|other| other.name == *used).unwrap();
                assert!(!back.may_use.contains(&package.name), "{} <-> {used}", package.name);
            }
            assert!(package.may_use.is_sorted(), "{}", package.name);
        }
    }
}
