//! Skipping what this host cannot do, unless somebody insists.

/// Comma-separated names of what must be there: `kvm`, `synic-kernel`, `lab`, `kernels`, `namespaces`.
pub const REQUIRE: &str = "VMBUS_EMU_REQUIRE";

/// Reports that `what` is not there, and why; the caller then skips its test.
///
/// # Panics
/// When [`REQUIRE`] lists `what`, so that a machine which should have it cannot pass by skipping.
pub fn skip(what: &str, reason: &str) {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == what), "{REQUIRE} lists {what}, but: {reason}");
    println!("skipped, no {what}: {reason}");
}
