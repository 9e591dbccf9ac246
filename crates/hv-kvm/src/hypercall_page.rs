//! The hypercall page of the user-space SynIC: 64-bit code that ends in an OUT instead of a VMCALL.
//!
//! The guest calls offset 0 with the hypercall ABI: RCX control, RDX and R8 input, RAX result; R9 to R11 and
//! the flags are the page's to clobber. Two ways lead out of the page:
//!
//! * HvCallSignalEvent in the form that Linux uses (control exactly [`FAST_SIGNAL`], RDX below 2^32, that is
//!   flag number 0) writes the connection id to [`DOORBELL_PORT`]. An ioeventfd with this id as datamatch
//!   takes it inside the kernel, so there is no exit to user space. An id that nobody registered does exit.
//! * Every other call writes to [`CALL_PORT`], which always exits.
//!
//! In both cases RAX is loaded from R9 afterwards. The doorbell path leaves 0 (success) in it; a handler in
//! user space stores the status in R9 with KVM_SET_REGS. RIP is never touched, because KVM may or may not
//! have moved it past the OUT by then, depending on the CPU vendor's fast path.
//!
//! VMCALL must not appear: a KVM without Hyper-V support answers it with its own error, and the
//! pagetable-based KVM rewrites and re-executes it for ever. Neither must port 0x7e, for which KVM has a
//! quirk. The ports are in the range of the long dead Micro Channel registers, where no device of a PC of
//! today and no Linux driver looks.

/// OUT of four bytes, EAX the connection id, that rings a doorbell. No device may claim it.
pub const DOORBELL_PORT: u16 = 0xe0;
/// OUT of four bytes that enters the hypercall handler in user space. No device may claim it.
pub const CALL_PORT: u16 = 0xe4;

/// Control word of the call that takes the fast way: HvCallSignalEvent, input in registers.
pub const FAST_SIGNAL: u64 = 0x1_005d;

/// Code at the start of the page; the rest is INT3 (0xcc).
pub const CODE: [u8; 38] = [
    0xf3, 0x0f, 0x1e, 0xfa, // endbr64; Linux 6.12 switches IBT off for a page without it
    0x48, 0x81, 0xf9, 0x5d, 0x00, 0x01, 0x00, // cmp rcx, FAST_SIGNAL
    0x75, 0x13, // jne call
    0x49, 0x89, 0xd1, // mov r9, rdx
    0x49, 0xc1, 0xe9, 0x20, // shr r9, 32: zero, which is success, when the fast way is right
    0x75, 0x0a, // jnz call
    0x89, 0xd0, // mov eax, edx
    0xe7, 0xe0, // out DOORBELL_PORT, eax
    0x4c, 0x89, 0xc8, // mov rax, r9
    0xc3, // ret
    0xcc, 0xcc, // alignment
    0xe7, 0xe4, // call: out CALL_PORT, eax
    0x4c, 0x89, 0xc8, // mov rax, r9
    0xc3, // ret
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Offset of the second OUT, where both conditional jumps must land.
    const CALL: usize = 32;

    #[test]
    fn page_starts_with_endbr64() {
        assert_eq!(CODE[..4], [0xf3, 0x0f, 0x1e, 0xfa]);
    }

    #[test]
    fn both_jumps_land_on_the_call_port() {
        for jump in [11, 20] {
            assert_eq!(CODE[jump], 0x75, "jne at {jump}");
            assert_eq!(jump + 2 + usize::from(CODE[jump + 1]), CALL, "target of the jump at {jump}");
        }
        assert_eq!(u16::from(CODE[CALL + 1]), CALL_PORT);
        assert_eq!(u16::from(CODE[25]), DOORBELL_PORT);
    }

    #[test]
    fn fast_way_tests_for_the_word_that_linux_sends() {
        let immediate = u32::from_le_bytes([CODE[7], CODE[8], CODE[9], CODE[10]]);
        assert_eq!(u64::from(immediate), FAST_SIGNAL);
        let control = hv_abi::hypercall::Control::from(FAST_SIGNAL);
        assert!(control.fast && control.code == hv_abi::hypercall::SIGNAL_EVENT);
    }

    #[test]
    fn page_holds_neither_vmcall_nor_vmmcall() {
        assert!(CODE.windows(3).all(|bytes| bytes != [0x0f, 0x01, 0xc1] && bytes != [0x0f, 0x01, 0xd9]));
    }
}
