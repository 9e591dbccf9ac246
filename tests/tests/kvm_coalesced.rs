//! Coalesced port writes on a KVM that lacks what they need. (What they do is tested on whole machines, in `vmbus-emu`.)

use std::sync::Arc;

use anyhow::{Result, ensure};
use hv_kvm::caps::{API_VERSION, HostCaps};
use hv_kvm::coalesced::CoalescedPort;
use kvm_bindings::{KVM_CAP_COALESCED_MMIO, KVM_CAP_COALESCED_PIO};
use kvm_ioctls::Kvm;
use tests::bare_metal::requirement::skip;

#[test]
fn kvm_without_one_of_both_capabilities_leaves_the_guest_for_each_write() -> Result<()> {
    let system = match Kvm::new() {
        Ok(system) => system,
        Err(error) => {
            skip("kvm", &error.to_string());
            return Ok(());
        }
    };
    let vm = Arc::new(system.create_vm()?);
    let vcpu = vm.create_vcpu(0)?;
    for absent in [KVM_CAP_COALESCED_MMIO, KVM_CAP_COALESCED_PIO] {
        let caps = HostCaps::from_answers(API_VERSION, |number| i32::from(number != absent));
        ensure!(
            CoalescedPort::new(&caps, &vm, &vcpu, 0x3f8)?.is_none(),
            "capability {absent} is not looked at"
        );
    }
    Ok(())
}
