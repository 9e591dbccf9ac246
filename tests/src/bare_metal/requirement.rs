//! Skipping what this host cannot do, unless somebody insists.

/// Comma-separated names of what must be there: `kvm`, `synic-kernel`, `lab`, `lab-qemu`, `kernels`, `drivers`,
/// `namespaces`, `chromium`.
pub const REQUIRE: &str = "VMBUS_EMU_REQUIRE";

/// KVM's own SynIC. A host that lacks it leaves its tests to the KVM lab, which has it.
pub const KERNEL_SYNIC: &str = "synic-kernel";

/// Reports that `what` is not there, and why; the caller then skips its test.
///
/// # Panics
/// When [`REQUIRE`] lists `what`, so that a machine which should have it cannot pass by skipping.
pub fn skip(what: &str, reason: &str) {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    let requires = |what: &str| required.split(',').any(|name| name.trim() == what);
    assert!(!requires(what), "{REQUIRE} lists {what}, but: {reason}");
    if what == KERNEL_SYNIC && requires("lab") {
        println!("left to the KVM lab, where `synic_lab` runs this test too: {reason}");
        return;
    }
    println!("skipped, no {what}: {reason}");
}
