use vm_memory::GuestMemoryMmap;

use super::*;

/// Control word of a slow HvCallPostMessage, as Linux makes it.
const POST: u64 = 0x5c;
/// Control word of a fast HvCallSignalEvent, as Linux makes it.
const SIGNAL: u64 = 0x1_005d;
const SLOW_SIGNAL: u64 = 0x5d;
const BLOCK_GPA: u64 = 0x1f00;

fn ram() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000)]).expect("ram")
}

fn block(connection_id: u32, kind: u32, size: u32, byte: u8) -> [u8; 256] {
    let mut block = [byte; 256];
    let words = [connection_id, 0, kind, size].map(u32::to_le_bytes);
    block[..16].copy_from_slice(words.as_flattened());
    block
}

fn decode_block(block: [u8; 256]) -> Result<Call, Status> {
    let memory = ram();
    memory.write_slice(&block, GuestAddress(BLOCK_GPA)).expect("in ram");
    decode(&memory, POST, BLOCK_GPA)
}

#[test]
fn post_at_the_end_of_a_page_is_read_whole() {
    let payload = Payload::try_from(&[0x77; 240][..]).expect("fits");
    let expected = Call::PostMessage(PostedMessage { connection_id: 4, payload });
    assert_eq!(decode_block(block(4, 1, 240, 0x77)), Ok(expected));
}

#[test]
fn post_carries_only_the_bytes_that_it_claims() {
    let payload = Payload::try_from(&[0x77; 8][..]).expect("fits");
    let expected = Call::PostMessage(PostedMessage { connection_id: 1, payload });
    assert_eq!(decode_block(block(1, 1, 8, 0x77)), Ok(expected));
}

#[test]
fn post_with_bad_fields_is_refused() {
    assert_eq!(decode_block(block(1, 1, 241, 0)), Err(Status::InvalidParameter));
    assert_eq!(decode_block(block(1, 1, u32::MAX, 0)), Err(Status::InvalidParameter));
    assert_eq!(decode_block(block(1, 0, 8, 0)), Err(Status::InvalidParameter));
    assert_eq!(decode_block(block(1, 0x8000_0010, 8, 0)), Err(Status::InvalidParameter));
    assert_eq!(decode_block(block(0x0100_0001, 1, 8, 0)), Err(Status::InvalidConnectionId));
}

#[test]
fn input_block_is_aligned_inside_one_page_and_in_ram() {
    let memory = ram();
    assert_eq!(decode(&memory, POST, 0x1001), Err(Status::InvalidAlignment));
    assert_eq!(decode(&memory, POST, 0x0f08), Err(Status::InvalidAlignment));
    assert_eq!(decode(&memory, POST, 0x2000), Err(Status::InvalidParameter));
    assert_eq!(decode(&memory, POST, !0xff), Err(Status::InvalidParameter));
    assert_eq!(decode(&memory, SLOW_SIGNAL, 0x1004), Err(Status::InvalidAlignment));
}

#[test]
fn signal_is_taken_fast_and_slow() {
    let memory = ram();
    memory.write_obj(0x1_2345_u64, GuestAddress(0x1000)).expect("in ram");
    let expected = Ok(Call::SignalEvent { connection_id: 0x1_2345 });
    assert_eq!(decode(&memory, SIGNAL, 0x1_2345), expected);
    assert_eq!(decode(&memory, SLOW_SIGNAL, 0x1000), expected);
}

#[test]
fn signal_with_flag_number_or_reserved_bits_is_refused() {
    let memory = ram();
    assert_eq!(decode(&memory, SIGNAL, 1 << 32), Err(Status::InvalidParameter));
    assert_eq!(decode(&memory, SIGNAL, 1 << 48), Err(Status::InvalidParameter));
    assert_eq!(decode(&memory, SIGNAL, 0x0100_0000), Err(Status::InvalidConnectionId));
}

#[test]
fn control_word_that_does_not_fit_the_call_is_refused() {
    let memory = ram();
    for extra in [1 << 17, 1 << 31, 1 << 32, 1 << 48, 1 << 63] {
        assert_eq!(decode(&memory, POST | extra, BLOCK_GPA), Err(Status::InvalidHypercallInput));
        assert_eq!(decode(&memory, SIGNAL | extra, 1), Err(Status::InvalidHypercallInput));
    }
    assert_eq!(decode(&memory, POST | 1 << 16, BLOCK_GPA), Err(Status::InvalidHypercallInput));
}

#[test]
fn every_other_call_code_is_unknown() {
    let memory = ram();
    for code in (0..=u64::from(u16::MAX)).filter(|code| !(0x5c..=0x5d).contains(code)) {
        assert_eq!(decode(&memory, code, 0), Err(Status::InvalidHypercallCode), "code {code:#x}");
    }
}

#[test]
fn serving_counts_calls_and_refusals() {
    let memory = ram();
    let inbox = Arc::new(Inbox::new(1).expect("eventfd"));
    let connections = Connections::new(inbox, Arc::new(SynicStats::default()));
    memory.write_slice(&block(1, 1, 3, 9), GuestAddress(BLOCK_GPA)).expect("in ram");
    assert_eq!(connections.serve(&memory, POST, BLOCK_GPA), 0);
    assert_eq!(connections.serve(&memory, POST, BLOCK_GPA), 0x13);
    assert_eq!(connections.serve(&memory, SIGNAL, 7), 0x12);
    assert_eq!(connections.serve(&memory, 0x46, 0), 2);
    let seen = connections.stats().snapshot();
    assert_eq!((seen.hypercall_user, seen.post_user, seen.signal_user), (4, 2, 1));
    assert_eq!(seen.hypercall_refused, 3);
}
