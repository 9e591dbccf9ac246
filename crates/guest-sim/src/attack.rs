//! Rules that the hostile script breaks, one at a time, at every layer.

use synthvid::Rect;
use synthvid::wire::{self, MessageType};

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attack {
    /// A control message with a number that does not exist.
    UnknownControlMessage,
    /// Four bytes as a control message.
    TruncatedControlMessage,
    /// 240 bytes of noise as a control message.
    NoiseAsControlMessage,
    /// OPENCHANNEL for a relid that nobody offered.
    OpenUnknownChannel,
    /// GPADL_HEADER for a relid that nobody offered.
    GpadlOfUnknownChannel,
    /// GPADL_HEADER that announces 8,190 pages and goes on with the next message.
    GpadlNeverFinished,
    /// GPADL_BODY without a header.
    GpadlBodyAlone,
    /// GPADL_TEARDOWN of a handle that does not exist.
    TeardownUnknownGpadl,
    /// CLOSECHANNEL and RELID_RELEASED for relid 0xffffffff.
    CloseUnknownChannel,
    /// HvCallPostMessage to a connection id that does not exist.
    PostToUnknownConnection,
    /// HvCallSignalEvent to a connection id that does not exist.
    SignalUnknownConnection,
    /// A write index behind the end of the ring.
    WriteIndexOutOfRange,
    /// A write index that is no multiple of eight.
    WriteIndexUnaligned,
    /// A packet that is shorter than its own descriptor.
    PacketShorterThanDescriptor,
    /// A packet that is longer than what is in the ring.
    PacketLongerThanRing,
    /// A packet whose payload starts behind its end.
    PayloadBehindPacket,
    /// A packet without a payload, too short for a pipe header.
    PipeHeaderTruncated,
    /// A pipe header with a type that does not exist.
    PipeTypeUnknown,
    /// A pipe header that says more bytes than the packet has.
    PipeSizeTooLarge,
    /// A video message that ends within its header.
    VideoHeaderTruncated,
    /// A video message with a number that does not exist.
    VideoTypeUnknown,
    /// A video message that only a host sends.
    VideoFromHost,
    /// DIRT that says 255 rectangles and has one.
    DirtCountTooLarge,
    /// DIRT without a rectangle.
    DirtWithoutRects,
    /// DIRT with inverted and infinite rectangles.
    DirtOffTheWorld,
    /// SITUATION_UPDATE with a screen that VRAM cannot hold.
    SituationOutsideVram,
    /// SITUATION_UPDATE of 0 by 0 pixels.
    SituationEmpty,
    /// VRAM_LOCATION where there is neither RAM nor a window.
    VramNowhere,
    /// VRAM_LOCATION whose end is behind the end of the address space.
    VramWraps,
    /// POINTER_SHAPE of 4294967295 by 4294967295 pixels.
    PointerTooLarge,
}

/// What an attack does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// HvCallPostMessage; `None` is the connection that control messages go to.
    Post { connection: Option<u32>, message: Vec<u8> },
    /// HvCallSignalEvent.
    Signal { connection: u32 },
    /// A write index in the ring to the host, and a doorbell.
    WriteIndex(u32),
    /// Raw bytes at the write index of the ring to the host, which then moves behind them, and a doorbell.
    RingBytes(Vec<u8>),
    /// A packet with this payload.
    Packet(Vec<u8>),
    /// A pipe message: what is inside of the pipe header.
    Video(Vec<u8>),
}

/// A relid and a GPADL that nobody has.
const NOBODY: u32 = 0x7fe;

impl Attack {
    /// Every attack, from the outermost layer to the innermost.
    pub const ALL: [Self; 30] = [
        Self::UnknownControlMessage,
        Self::TruncatedControlMessage,
        Self::NoiseAsControlMessage,
        Self::OpenUnknownChannel,
        Self::GpadlOfUnknownChannel,
        Self::GpadlNeverFinished,
        Self::GpadlBodyAlone,
        Self::TeardownUnknownGpadl,
        Self::CloseUnknownChannel,
        Self::PostToUnknownConnection,
        Self::SignalUnknownConnection,
        Self::WriteIndexOutOfRange,
        Self::WriteIndexUnaligned,
        Self::PacketShorterThanDescriptor,
        Self::PacketLongerThanRing,
        Self::PayloadBehindPacket,
        Self::PipeHeaderTruncated,
        Self::PipeTypeUnknown,
        Self::PipeSizeTooLarge,
        Self::VideoHeaderTruncated,
        Self::VideoTypeUnknown,
        Self::VideoFromHost,
        Self::DirtCountTooLarge,
        Self::DirtWithoutRects,
        Self::DirtOffTheWorld,
        Self::SituationOutsideVram,
        Self::SituationEmpty,
        Self::VramNowhere,
        Self::VramWraps,
        Self::PointerTooLarge,
    ];

    /// What it does on the channel `relid`.
    pub(crate) fn strikes(self, relid: u32) -> Vec<Strike> {
        let strike = match self {
            Self::UnknownControlMessage => control(0x7fff_ffff, &[0; 6]),
            Self::TruncatedControlMessage => {
                Strike::Post { connection: None, message: 5_u32.to_le_bytes().to_vec() }
            }
            Self::NoiseAsControlMessage => Strike::Post { connection: None, message: noise(240) },
            Self::OpenUnknownChannel => {
                control(5, &[&[NOBODY, NOBODY, 0xe1e10, 0, 1][..], &[0; 30]].concat())
            }
            Self::GpadlOfUnknownChannel => control(8, &gpadl_header(NOBODY, 1)),
            Self::GpadlNeverFinished => control(8, &gpadl_header(relid, 8_190)),
            Self::GpadlBodyAlone => control(9, &[0, 0xdead, 1, 0]),
            Self::TeardownUnknownGpadl => control(11, &[relid, 0xdead]),
            Self::CloseUnknownChannel => return vec![control(7, &[u32::MAX]), control(13, &[u32::MAX])],
            Self::PostToUnknownConnection => {
                Strike::Post { connection: Some(0x00ab_cdef), message: 3_u64.to_le_bytes().to_vec() }
            }
            Self::SignalUnknownConnection => Strike::Signal { connection: 0x00ab_cdef },
            Self::WriteIndexOutOfRange => Strike::WriteIndex(0xffff_fff8),
            Self::WriteIndexUnaligned => Strike::WriteIndex(13),
            Self::PacketShorterThanDescriptor => Strike::RingBytes(packet(2, 0, 32)),
            Self::PacketLongerThanRing => Strike::RingBytes(packet(2, 0xffff, 32)),
            Self::PayloadBehindPacket => Strike::RingBytes(packet(0x2000, 3, 32)),
            Self::PipeHeaderTruncated => Strike::RingBytes(packet(2, 2, 24)),
            Self::PipeTypeUnknown => Strike::Packet(words(&[77, 8, 10, 8])),
            Self::PipeSizeTooLarge => Strike::Packet(words(&[1, 0x7fff_ffff, 10, 8])),
            Self::VideoHeaderTruncated => Strike::Video(vec![10, 0, 0]),
            Self::VideoTypeUnknown => Strike::Video(words(&[999, 8])),
            Self::VideoFromHost => video(MessageType::VramLocationAck, &[0; 8]),
            Self::DirtCountTooLarge => video(MessageType::Dirt, &[&[0, 255][..], &[0; 16]].concat()),
            Self::DirtWithoutRects => video(MessageType::Dirt, &[0, 0]),
            Self::DirtOffTheWorld => {
                let rects = [Rect::new(5, 5, 0, 0), Rect::new(i32::MIN, i32::MIN, i32::MAX, i32::MAX)];
                video(MessageType::Dirt, &dirt_body(&rects))
            }
            Self::SituationOutsideVram => {
                video(MessageType::SituationUpdate, &situation_body(32_768, 32_768, 0x0002_0000))
            }
            Self::SituationEmpty => video(MessageType::SituationUpdate, &situation_body(0, 0, 0)),
            Self::VramNowhere => video(MessageType::VramLocation, &vram_body(0x00ab_cdef_0000_0000)),
            Self::VramWraps => video(MessageType::VramLocation, &vram_body(0xffff_ffff_ffff_f000)),
            Self::PointerTooLarge => {
                let head = [&[0xff, 1][..], &words(&[u32::MAX, u32::MAX, 0, 0]), &[0; 64]].concat();
                video(MessageType::PointerShape, &head)
            }
        };
        vec![strike]
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn control(number: u32, body: &[u32]) -> Strike {
    Strike::Post { connection: None, message: [words(&[number, 0]), words(body)].concat() }
}

/// Body of a GPADL_HEADER that announces `pages` and holds one page number.
fn gpadl_header(relid: u32, pages: u16) -> Vec<u32> {
    let range_bytes = 8 + 8 * u32::from(pages);
    vec![relid, 0xbad, (range_bytes & 0xffff) | 1 << 16, u32::from(pages) * 4096, 0, 1, 0]
}

/// An in-band packet: its descriptor as given, and `bytes` in all.
fn packet(offset_qwords: u16, len_qwords: u16, bytes: usize) -> Vec<u8> {
    let [offset_low, offset_high] = offset_qwords.to_le_bytes();
    let [len_low, len_high] = len_qwords.to_le_bytes();
    let mut packet = vec![6, 0, offset_low, offset_high, len_low, len_high];
    packet.resize(bytes, 0);
    packet
}

fn video(kind: MessageType, body: &[u8]) -> Strike {
    let mut message = vec![0; wire::HEADER_BYTES + body.len()];
    let written = wire::encode(&mut message, kind, &[body]);
    message.truncate(written.unwrap_or(0));
    Strike::Video(message)
}

fn dirt_body(rects: &[Rect]) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(rects.len()).unwrap_or(u8::MAX)];
    let edges = rects.iter().flat_map(|rect| [rect.left, rect.top, rect.right, rect.bottom]);
    body.extend(edges.flat_map(i32::to_le_bytes));
    body
}

fn situation_body(width: u32, height: u32, pitch: u32) -> Vec<u8> {
    [&[0; 8][..], &[1, 1], &[0; 4], &[32], &words(&[width, height, pitch])].concat()
}

fn vram_body(gpa: u64) -> Vec<u8> {
    [&gpa.to_le_bytes()[..], &[1], &gpa.to_le_bytes()].concat()
}

/// Bytes of a fixed linear congruential sequence (Knuth's MMIX constants).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x5eed_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_attack_is_listed_once_and_does_something_else() {
        let strikes: BTreeSet<_> =
            Attack::ALL.iter().map(|attack| format!("{:?}", attack.strikes(1))).collect();
        assert_eq!(strikes.len(), Attack::ALL.len());
    }

    #[test]
    fn posted_messages_fit_a_slot() {
        for attack in Attack::ALL {
            for strike in attack.strikes(1) {
                if let Strike::Post { message, .. } = strike {
                    assert!(message.len() <= 240, "{attack:?}: {}", message.len());
                }
            }
        }
    }

    #[test]
    fn open_of_an_unknown_channel_is_as_long_as_an_open() {
        let [Strike::Post { message, .. }] = &Attack::OpenUnknownChannel.strikes(1)[..] else {
            panic!("no post")
        };
        assert_eq!(message.len(), 148);
    }
}
