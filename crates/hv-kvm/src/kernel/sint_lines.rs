//! Interrupt lines of the in-kernel SynIC: one GSI, one irqfd for each SINT of each VP in use.
//!
//! KVM_SET_GSI_ROUTING replaces the whole table, so the entries that KVM_CREATE_IRQCHIP made for PIC and
//! IOAPIC are repeated in front of ours. Nobody else may set the routing of this VM.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_HV_SINT, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_hv_sint, kvm_irq_routing_irqchip,
};
use kvm_ioctls::VmFd;
use synic::Sint;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::BackendError;

/// First GSI that is not an IOAPIC pin.
const FIRST_GSI: u32 = 24;

#[derive(Debug)]
pub(crate) struct SintLines {
    vm: Arc<VmFd>,
    slot_freed: EventFd,
    lines: Mutex<BTreeMap<(u32, Sint), Line>>,
}

#[derive(Debug)]
struct Line {
    gsi: u32,
    trigger: EventFd,
}

impl SintLines {
    pub(crate) fn new(vm: Arc<VmFd>) -> Result<Self, BackendError> {
        let slot_freed = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Self { vm, slot_freed, lines: Mutex::default() })
    }

    /// Written by KVM when a guest writes EOM, or EOI for a SINT's vector.
    pub(crate) fn slot_freed(&self) -> &EventFd {
        &self.slot_freed
    }

    /// Makes the line of (`vp`, `sint`) if there is none yet. The VP's SynIC must be active.
    pub(crate) fn connect(&self, vp: u32, sint: Sint) -> Result<(), BackendError> {
        self.with_line(vp, sint, |_| ())
    }

    /// Raises `sint` on `vp`. KVM drops it when the guest has the SINT masked.
    pub(crate) fn raise(&self, vp: u32, sint: Sint) -> Result<(), BackendError> {
        self.with_line(vp, sint, |trigger| trigger.write(1))??;
        Ok(())
    }

    fn with_line<R>(&self, vp: u32, sint: Sint, act: impl FnOnce(&EventFd) -> R) -> Result<R, BackendError> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Lines are never removed, so their number is the next free GSI. 16 a VP fit KVM's 4,096 routes.
        let gsi = FIRST_GSI + u32::try_from(lines.len()).unwrap_or(u32::MAX - FIRST_GSI);
        let routes: Vec<_> = lines.iter().map(|(&(vp, sint), line)| (line.gsi, vp, sint)).collect();
        match lines.entry((vp, sint)) {
            Entry::Occupied(line) => Ok(act(&line.get().trigger)),
            Entry::Vacant(place) => {
                let trigger = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
                let routing = routing(routes.into_iter().chain([(gsi, vp, sint)]))?;
                self.vm.set_gsi_routing(&routing).map_err(BackendError::kvm("the interrupt routing"))?;
                self.vm
                    .register_irqfd_with_resample(&trigger, &self.slot_freed, gsi)
                    .map_err(BackendError::kvm("an irqfd for a SINT"))?;
                Ok(act(&place.insert(Line { gsi, trigger }).trigger))
            }
        }
    }
}

fn routing(sints: impl Iterator<Item = (u32, u32, Sint)>) -> Result<KvmIrqRouting, BackendError> {
    let chip = |gsi, irqchip, pin| kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip: kvm_irq_routing_irqchip { irqchip, pin } },
        ..Default::default()
    };
    let sint = |(gsi, vcpu, sint): (u32, u32, Sint)| kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_HV_SINT,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            hv_sint: kvm_irq_routing_hv_sint { vcpu, sint: u32::from(sint.number()) },
        },
        ..Default::default()
    };
    let master = (0..8).map(|pin| chip(pin, KVM_IRQCHIP_PIC_MASTER, pin));
    let slave = (0..8).map(|pin| chip(pin + 8, KVM_IRQCHIP_PIC_SLAVE, pin));
    let ioapic = (0..FIRST_GSI).map(|pin| chip(pin, KVM_IRQCHIP_IOAPIC, pin));
    let entries: Vec<_> = master.chain(slave).chain(ioapic).chain(sints.map(sint)).collect();
    KvmIrqRouting::from_entries(&entries).map_err(|_| BackendError::Kvm {
        operation: "a table of this many interrupt routes",
        source: vmm_sys_util::errno::Error::new(libc::E2BIG),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pic_and_ioapic_entries_are_kept_in_front_of_the_sints() {
        let routing = routing([(24, 0, Sint::VMBUS), (25, 1, Sint::VMBUS)].into_iter()).unwrap();
        let entries = routing.as_slice();
        assert_eq!(entries.len(), 16 + 24 + 2);
        assert!(entries[..40].iter().all(|entry| entry.type_ == KVM_IRQ_ROUTING_IRQCHIP && entry.gsi < 24));
        let sints: Vec<_> = entries[40..].iter().map(|entry| (entry.gsi, entry.type_)).collect();
        assert_eq!(sints, [(24, KVM_IRQ_ROUTING_HV_SINT), (25, KVM_IRQ_ROUTING_HV_SINT)]);
    }
}
