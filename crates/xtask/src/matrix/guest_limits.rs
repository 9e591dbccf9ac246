//! What guests cannot do, and what in their own log proves it. Nothing else excuses a row.

/// A limit of a guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GuestLimit {
    /// What it is, for a reader.
    pub(super) what: &'static str,
    /// Must be in a line of the guest's console, or the row has failed.
    pub(super) pattern: &'static str,
}

/// On VMBus 4.0 and 5.0 both drivers try video protocol 3.5 and then 3.2, on 3.0 and 2.4 only 3.2, on every other
/// version only 3.5 (`synthvid_connect_vsp`, `hyperv_connect_vsp`).
pub(super) const ONLY_3_5: GuestLimit = GuestLimit {
    what: "on this VMBus version the driver speaks video protocol 3.5 only",
    pattern: "Synthetic video device version not accepted",
};

/// As above: 3.0 is for VMBus versions that these kernels do not speak any more.
pub(super) const NOT_BELOW_3_2: GuestLimit = GuestLimit {
    what: "the driver gives up below video protocol 3.2",
    pattern: "Synthetic video device version not accepted",
};

impl GuestLimit {
    /// The line of `console` that proves it.
    pub(super) fn proof<'a>(&self, console: &'a str) -> Option<&'a str> {
        console.lines().map(str::trim).find(|line| line.contains(self.pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_proven_by_a_line_of_the_log_and_by_nothing_less() {
        let console = "[    1.0] hv_vmbus: Vmbus version:5.3\r\n\
                       [    1.1] hyperv_fb: Synthetic video device version not accepted\r\n";
        let line = "[    1.1] hyperv_fb: Synthetic video device version not accepted";
        assert_eq!(ONLY_3_5.proof(console), Some(line));
        assert_eq!(ONLY_3_5.proof("[    1.1] hyperv_fb: Unable to connect to VSP\n"), None);
    }
}
