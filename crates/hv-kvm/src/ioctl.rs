//! The KVM interface that kvm-ioctls does not wrap, or not without an allocation: five ioctls, a vCPU's second descriptor, and the
//! payloads of `kvm_run`.
//!
//! All functions here but one are safe to call. Those that issue an ioctl expect the caller to have checked the
//! named capability in [`crate::caps::HostCaps`]; without it they return the kernel's error number.
#![expect(unsafe_code, reason = "raw ioctls and the unions of kvm_run have no safe wrapper in kvm-ioctls")]

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};

use kvm_bindings::{
    CpuId, KVM_EXIT_HYPERV, KVM_EXIT_HYPERV_HCALL, KVM_EXIT_HYPERV_SYNIC, KVM_EXIT_IO, KVM_EXIT_IO_OUT,
    KVM_EXIT_SYSTEM_EVENT, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR, KVM_HYPERV_EVENTFD_DEASSIGN, KVMIO,
    kvm_clear_dirty_log, kvm_clear_dirty_log__bindgen_ty_1, kvm_cpuid2, kvm_dirty_log,
    kvm_dirty_log__bindgen_ty_1, kvm_hyperv_eventfd, kvm_run,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ptr, ioctl_with_ref};
use vmm_sys_util::{ioctl_io_nr, ioctl_iow_nr, ioctl_iowr_nr};

ioctl_iow_nr!(KVM_GET_DIRTY_LOG, KVMIO, 0x42, kvm_dirty_log);
ioctl_iow_nr!(KVM_HYPERV_EVENTFD, KVMIO, 0xbd, kvm_hyperv_eventfd);
ioctl_iowr_nr!(KVM_CLEAR_DIRTY_LOG, KVMIO, 0xc0, kvm_clear_dirty_log);
ioctl_iowr_nr!(KVM_GET_SUPPORTED_HV_CPUID, KVMIO, 0xc1, kvm_cpuid2);
ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xce);

/// Room for the leaves of KVM_GET_SUPPORTED_HV_CPUID; Linux 6.12 fills 12.
const HV_CPUID_ENTRIES: usize = 64;

/// Pages that one word of a dirty bitmap covers.
pub(crate) const PAGES_PER_WORD: u64 = 64;

/// What the guest did to make KVM_RUN return, as far as a SynIC is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// KVM_EXIT_HYPERV / SYNIC: the guest wrote SCONTROL, SIEFP or SIMP.
    SynicWrite { control: u64, event_page: u64, message_page: u64 },
    /// KVM_EXIT_HYPERV / HCALL: a hypercall that the kernel passes on. RDX and R8 are `params`.
    Hypercall { control: u64, params: [u64; 2] },
    /// RDMSR that the filter refused.
    ReadMsr { index: u32 },
    /// WRMSR that the filter refused.
    WriteMsr { index: u32, data: u64 },
    /// One OUT of four bytes.
    Out32 { port: u16 },
    /// KVM_EXIT_SYSTEM_EVENT with its type.
    SystemEvent { kind: u32 },
    /// Nothing that a SynIC knows.
    Other,
}

/// Reads the exit that the last KVM_RUN of `vcpu` left behind.
pub(crate) fn exit(vcpu: &mut VcpuFd) -> Exit {
    let run: &kvm_run = vcpu.get_kvm_run();
    match run.exit_reason {
        KVM_EXIT_HYPERV => {
            // JUSTIFICATION: kvm-ioctls' `VcpuExit::Hyperv` carries no payload.
            // SAFETY: the exit reason says that KVM filled `hyperv`, which is plain integers.
            let hyperv = unsafe { run.__bindgen_anon_1.hyperv };
            match hyperv.type_ {
                KVM_EXIT_HYPERV_SYNIC => {
                    // JUSTIFICATION: as above.
                    // SAFETY: the type says that KVM filled `synic`, which is plain integers.
                    let synic = unsafe { hyperv.u.synic };
                    Exit::SynicWrite {
                        control: synic.control,
                        event_page: synic.evt_page,
                        message_page: synic.msg_page,
                    }
                }
                KVM_EXIT_HYPERV_HCALL => {
                    // JUSTIFICATION: as above.
                    // SAFETY: the type says that KVM filled `hcall`, which is plain integers.
                    let hcall = unsafe { hyperv.u.hcall };
                    Exit::Hypercall { control: hcall.input, params: hcall.params }
                }
                _ => Exit::Other,
            }
        }
        KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR => {
            // JUSTIFICATION: `VcpuExit` borrows the vCPU, and handling the exit needs the vCPU again.
            // SAFETY: the exit reason says that KVM filled `msr`, which is plain integers.
            let msr = unsafe { run.__bindgen_anon_1.msr };
            if run.exit_reason == KVM_EXIT_X86_RDMSR {
                Exit::ReadMsr { index: msr.index }
            } else {
                Exit::WriteMsr { index: msr.index, data: msr.data }
            }
        }
        KVM_EXIT_IO => {
            // JUSTIFICATION: as for MSRs.
            // SAFETY: the exit reason says that KVM filled `io`, which is plain integers.
            let io = unsafe { run.__bindgen_anon_1.io };
            if u32::from(io.direction) == KVM_EXIT_IO_OUT && io.size == 4 && io.count == 1 {
                Exit::Out32 { port: io.port }
            } else {
                Exit::Other
            }
        }
        KVM_EXIT_SYSTEM_EVENT => {
            // JUSTIFICATION: as for MSRs.
            // SAFETY: the exit reason says that KVM filled `system_event`, whose type is an integer.
            Exit::SystemEvent { kind: unsafe { run.__bindgen_anon_1.system_event.type_ } }
        }
        _ => Exit::Other,
    }
}

/// Stores the result of an [`Exit::Hypercall`]; KVM moves it to RAX on the next KVM_RUN.
pub(crate) fn complete_hypercall(vcpu: &mut VcpuFd, result: u64) {
    vcpu.get_kvm_run().__bindgen_anon_1.hyperv.u.hcall.result = result;
}

/// Answers an [`Exit::ReadMsr`]; `None` makes the guest's RDMSR fault with #GP.
pub(crate) fn complete_read_msr(vcpu: &mut VcpuFd, value: Option<u64>) {
    let msr = &mut vcpu.get_kvm_run().__bindgen_anon_1;
    msr.msr.error = u8::from(value.is_none());
    msr.msr.data = value.unwrap_or_default();
}

/// Answers an [`Exit::WriteMsr`]; `false` makes the guest's WRMSR fault with #GP.
pub(crate) fn complete_write_msr(vcpu: &mut VcpuFd, accepted: bool) {
    vcpu.get_kvm_run().__bindgen_anon_1.msr.error = u8::from(!accepted);
}

/// KVM_HYPERV_EVENTFD: makes the kernel ring `fd` for HvCallSignalEvent on `connection_id`, or stop doing so.
///
/// Capability: KVM_CAP_HYPERV_EVENTFD. Errors: EINVAL for an id above 24 bits, EEXIST when the id is taken,
/// ENOENT when the id to remove is not there.
pub(crate) fn hyperv_eventfd(
    vm: &VmFd,
    connection_id: u32,
    fd: RawFd,
    assign: bool,
) -> Result<(), errno::Error> {
    let flags = if assign { 0 } else { KVM_HYPERV_EVENTFD_DEASSIGN };
    let request = kvm_hyperv_eventfd { conn_id: connection_id, fd, flags, padding: [0; 3] };
    // JUSTIFICATION: kvm-ioctls has no method for it.
    // SAFETY: the descriptor is a VM's, and the kernel only reads the structure whose size the number encodes.
    let result = unsafe { ioctl_with_ref(vm, KVM_HYPERV_EVENTFD(), &request) };
    if result == 0 { Ok(()) } else { errno::errno_result() }
}

/// KVM_GET_SUPPORTED_HV_CPUID: the Hyper-V leaves that this KVM can stand behind.
///
/// Capability: KVM_CAP_SYS_HYPERV_CPUID, because it is asked of `/dev/kvm` and not of a vCPU.
pub(crate) fn supported_hv_cpuid(system: &Kvm) -> Result<CpuId, errno::Error> {
    let mut cpuid = CpuId::new(HV_CPUID_ENTRIES).map_err(|_| errno::Error::new(libc::ENOMEM))?;
    // JUSTIFICATION: kvm-ioctls has no method for it.
    // SAFETY: `cpuid` has room for as many entries as its header says, the kernel writes no more than that
    // and stores the number written in the header.
    let result =
        unsafe { ioctl_with_mut_ptr(system, KVM_GET_SUPPORTED_HV_CPUID(), cpuid.as_mut_fam_struct_ptr()) };
    if result == 0 { Ok(cpuid) } else { errno::errno_result() }
}

/// KVM_GET_DIRTY_LOG: the pages of a whole slot that were written, a bit each, into `bitmap`.
///
/// kvm-ioctls allocates for each call, which a caller who looks a thousand times a second at a log of 32 KiB had rather not.
///
/// # Safety
/// `bitmap` has a bit for every page of the slot, whose number nobody gives to a larger one meanwhile.
pub(crate) unsafe fn get_dirty_log(vm: &VmFd, slot: u32, bitmap: &mut [u64]) -> Result<(), errno::Error> {
    let request = kvm_dirty_log {
        slot,
        padding1: 0,
        __bindgen_anon_1: kvm_dirty_log__bindgen_ty_1 { dirty_bitmap: bitmap.as_mut_ptr().cast() },
    };
    // JUSTIFICATION: kvm-ioctls' method allocates.
    // SAFETY: the kernel writes a bit for every page of the slot, rounded up to words, and the caller has made sure that
    // `bitmap` is that long.
    let result = unsafe { ioctl_with_ref(vm, KVM_GET_DIRTY_LOG(), &request) };
    if result == 0 { Ok(()) } else { errno::errno_result() }
}

/// KVM_CLEAR_DIRTY_LOG: clears and write-protects again the pages whose bit is set in `bitmap`.
///
/// Bit 0 of `bitmap` is `first_page` of the slot, which must be a multiple of 64; `pages` must be one too
/// unless the range ends with the slot. Capability: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, enabled on the VM.
pub(crate) fn clear_dirty_log(
    vm: &VmFd,
    slot: u32,
    first_page: u64,
    pages: u32,
    bitmap: &mut [u64],
) -> Result<(), errno::Error> {
    if (bitmap.len() as u64).saturating_mul(PAGES_PER_WORD) < u64::from(pages) {
        return Err(errno::Error::new(libc::EINVAL));
    }
    let request = kvm_clear_dirty_log {
        slot,
        num_pages: pages,
        first_page,
        __bindgen_anon_1: kvm_clear_dirty_log__bindgen_ty_1 { dirty_bitmap: bitmap.as_mut_ptr().cast() },
    };
    // JUSTIFICATION: kvm-ioctls has no method for it.
    // SAFETY: the bitmap outlives the call and was just checked to cover `pages` bits, rounded up to words,
    // which is all that the kernel reads.
    let result = unsafe { ioctl_with_ref(vm, KVM_CLEAR_DIRTY_LOG(), &request) };
    if result == 0 { Ok(()) } else { errno::errno_result() }
}

/// KVM_GET_STATS_FD: the binary statistics of a virtual processor, as a file to read at offsets.
///
/// Capability: KVM_CAP_BINARY_STATS_FD. The file closes on exec.
pub(crate) fn vcpu_stats(vcpu: &VcpuFd) -> Result<File, errno::Error> {
    // JUSTIFICATION: kvm-ioctls has no method for it.
    // SAFETY: the descriptor is a vCPU's, and the call takes no argument.
    let fd = unsafe { ioctl(vcpu, KVM_GET_STATS_FD()) };
    if fd < 0 {
        return errno::errno_result();
    }
    // JUSTIFICATION: a descriptor that an ioctl returns has no safe way into a type that closes it.
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Another descriptor of a vCPU of `vm`, with mappings of its own. Not for KVM_RUN, which is one thread's.
pub(crate) fn second_handle(vm: &VmFd, vcpu: &VcpuFd) -> Result<VcpuFd, errno::Error> {
    // JUSTIFICATION: kvm-ioctls' `VcpuFd` can be neither cloned nor borrowed as a descriptor.
    // SAFETY: `vcpu` owns the descriptor and outlives the borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
    let fd = fd.try_clone_to_owned().map_err(errno::Error::from)?;
    // JUSTIFICATION: kvm-ioctls has no other way to a `VcpuFd` of an existing vCPU.
    // SAFETY: the descriptor is valid and a vCPU's, and nobody else owns it.
    unsafe { vm.create_vcpu_from_rawfd(fd.into_raw_fd()) }
}
