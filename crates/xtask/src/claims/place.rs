//! Where the runs are made.

use super::evidence::Evidence;

/// Where runs are made, or were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the host's KVM.
    Host,
    /// In the KVM lab, by the host's clock: reports that were made before there was another.
    LabByHost,
    /// In the KVM lab, with a clock that goes by instructions.
    Lab,
}

impl Place {
    /// What a command of the program has for it.
    pub(super) const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Host => &["--kvm", "host"],
            Self::LabByHost => &["--kvm", "lab"],
            Self::Lab => &["--lab-clock", "instructions"],
        }
    }

    /// Where the run was made whose report is called `name`.
    pub(super) fn of(evidence: &Evidence, name: &str) -> Self {
        match (evidence.text(name, "/host/kvm"), evidence.text(name, "/host/lab_clock")) {
            (Some("lab"), Some("instructions")) => Self::Lab,
            (Some("lab"), _) => Self::LabByHost,
            _ => Self::Host,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn command_is_shown_for_the_place_that_the_report_tells() {
        let evidence = Evidence::of([
            ("lab", json!({"host": {"kvm": "lab", "lab_clock": "instructions"}})),
            ("uneven", json!({"host": {"kvm": "lab", "lab_clock": "host"}})),
            ("real", json!({"host": {"kvm": "host", "lab_clock": null}})),
        ]);
        let places = ["lab", "uneven", "real", "none"].map(|name| Place::of(&evidence, name));
        assert_eq!(places, [Place::Lab, Place::LabByHost, Place::Host, Place::Host]);
    }
}
