use vm_memory::bitmap::BS;
use vm_memory::guest_memory::GuestMemorySliceIterator;
use vm_memory::{GuestMemoryMmap, GuestMemoryResult};

use super::*;

const SIMP: GuestAddress = GuestAddress(0x1000);
const SIEFP: GuestAddress = GuestAddress(0x2000);
const RAM_BYTES: usize = 0x4000;

fn ram() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM_BYTES)]).expect("ram")
}

fn bytes<const N: usize>(memory: &GuestMemoryMmap, gpa: u64) -> [u8; N] {
    let mut bytes = [0; N];
    memory.read_slice(&mut bytes, GuestAddress(gpa)).expect("in ram");
    bytes
}

fn payload(bytes: &[u8]) -> Payload {
    Payload::try_from(bytes).expect("fits")
}

#[test]
fn delivered_slot_has_linux_layout_at_sint_times_256() {
    let memory = ram();
    memory.write_slice(&[0xaa; 252], GuestAddress(0x1204)).expect("in ram");
    assert_eq!(deliver(&memory, SIMP, Sint::VMBUS, &payload(b"abc")), Ok(Delivery::Delivered));
    let expected = *b"\x01\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0abc\xaa";
    assert_eq!(bytes::<20>(&memory, 0x1200), expected);
    assert_eq!(bytes::<512>(&memory, 0x1000), [0; 512]);
}

#[test]
fn occupied_slot_keeps_its_message_and_gets_the_pending_flag() {
    let memory = ram();
    deliver(&memory, SIMP, Sint::VMBUS, &payload(b"one")).expect("in ram");
    assert_eq!(deliver(&memory, SIMP, Sint::VMBUS, &payload(b"two")), Ok(Delivery::Busy));
    assert_eq!(bytes::<8>(&memory, 0x1200), *b"\x01\0\0\0\x03\x01\0\0");
    assert_eq!(bytes::<3>(&memory, 0x1210), *b"one");
}

/// Memory whose guest frees the slot of SINT 2, and looks at its flags, just before the host sets one: the
/// one moment in which nobody would write EOM.
struct GuestFreesFirst(GuestMemoryMmap);

impl GuestMemory for GuestFreesFirst {
    type PhysicalMemory = GuestMemoryMmap;
    type Bitmap = ();

    fn check_range(&self, addr: GuestAddress, count: usize, access: Permissions) -> bool {
        GuestMemory::check_range(&self.0, addr, count, access)
    }

    fn get_slices<'a>(
        &'a self,
        addr: GuestAddress,
        count: usize,
        access: Permissions,
    ) -> GuestMemoryResult<impl GuestMemorySliceIterator<'a, BS<'a, ()>>> {
        if addr == GuestAddress(0x1205) {
            self.0.store(0_u32, GuestAddress(0x1200), Ordering::SeqCst)?;
        }
        GuestMemory::get_slices(&self.0, addr, count, access)
    }
}

#[test]
fn slot_freed_just_before_the_pending_flag_is_filled_at_once() {
    let memory = GuestFreesFirst(ram());
    deliver(&memory, SIMP, Sint::VMBUS, &payload(b"one")).expect("in ram");
    assert_eq!(deliver(&memory, SIMP, Sint::VMBUS, &payload(b"two")), Ok(Delivery::Delivered));
    assert_eq!(bytes::<8>(&memory.0, 0x1200), *b"\x01\0\0\0\x03\0\0\0");
    assert_eq!(bytes::<3>(&memory.0, 0x1210), *b"two");
}

#[test]
fn last_slot_fills_the_page_to_its_end_and_no_further() {
    let memory = ram();
    let sint = Sint::new(15).expect("in range");
    let full = payload(&[0xbb; 240]);
    assert_eq!(deliver(&memory, SIMP, sint, &full), Ok(Delivery::Delivered));
    assert_eq!(bytes::<4>(&memory, 0x1ffe), [0xbb, 0xbb, 0, 0]);
}

#[test]
fn flag_n_is_bit_n_of_the_block_of_its_sint() {
    let memory = ram();
    for flag in [0, 9, 2047] {
        let flag = EventFlag::new(flag).expect("in range");
        assert_eq!(set_flag(&memory, SIEFP, Sint::VMBUS, flag), Ok(true));
        assert_eq!(set_flag(&memory, SIEFP, Sint::VMBUS, flag), Ok(false));
    }
    let block = bytes::<256>(&memory, 0x2200);
    assert_eq!((block[0], block[1], block[255]), (0x01, 0x02, 0x80));
    assert_eq!(block.iter().filter(|&&byte| byte != 0).count(), 3);
}

#[test]
fn zero_clears_the_page_and_nothing_beside_it() {
    let memory = ram();
    memory.write_slice(&[0xcc; 0x3000], GuestAddress(0)).expect("in ram");
    zero(&memory, SIMP).expect("in ram");
    assert_eq!(bytes::<4096>(&memory, 0x1000), [0; 4096]);
    assert_eq!((bytes::<1>(&memory, 0x0fff), bytes::<1>(&memory, 0x2000)), ([0xcc], [0xcc]));
}

#[test]
fn pages_outside_ram_are_faults_with_their_address() {
    let memory = ram();
    let flag = EventFlag::new(2047).expect("in range");
    for gpa in [RAM_BYTES as u64, 0xfee0_0000, !0xfff] {
        let page = GuestAddress(gpa);
        assert_eq!(zero(&memory, page), Err(PageFault { gpa }));
        let sint = Sint::new(0).expect("in range");
        assert_eq!(deliver(&memory, page, sint, &payload(b"x")), Err(PageFault { gpa }));
        assert_eq!(set_flag(&memory, page, sint, flag), Err(PageFault { gpa: gpa + 252 }));
    }
    assert_eq!(
        PageFault { gpa: 0x4000 }.to_string(),
        "page of the synthetic interrupt controller at 0x4000 is not guest RAM"
    );
}

#[test]
fn page_half_outside_ram_is_not_half_zeroed() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1800)]).expect("ram");
    memory.write_slice(&[0xcc; 0x800], GuestAddress(0x1000)).expect("in ram");
    assert_eq!(zero(&memory, SIMP), Err(PageFault { gpa: 0x1000 }));
    let first: u8 = memory.read_obj(GuestAddress(0x1000)).expect("in ram");
    assert_eq!(first, 0xcc);
}

#[test]
fn page_register_counts_only_while_bit_zero_is_set() {
    assert_eq!(enabled_page(0x5000), None);
    assert_eq!(enabled_page(0x5ffe), None);
    assert_eq!(enabled_page(0x5fff), Some(GuestAddress(0x5000)));
}
