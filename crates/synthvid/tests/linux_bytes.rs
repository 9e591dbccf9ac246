//! What `hyperv_fb` of Linux 6.1 puts inside the pipe header, byte for byte, and what must come back.
//!
//! The driver: `drivers/video/fbdev/hyperv_fb.c`, `synthvid_connect_vsp`, `synthvid_send_config`,
//! `synthvid_send_ptr`, `synthvid_send_situ` and `synthvid_update`, on a Generation 1 machine at 1024x768.

use synthvid::wire::MAX_HOST_MESSAGE_BYTES;
use synthvid::{DirtVerdict, Features, Mode, ModeList, Rect, Vsp, VspAction, VspConfig};

const VERSION_REQUEST: [u8; 12] = [1, 0, 0, 0, 12, 0, 0, 0, 3, 0, 5, 0];

const RESOLUTION_REQUEST: [u8; 9] = [13, 0, 0, 0, 9, 0, 0, 0, 64];

/// VRAM at 0xf8000000, in the context as well as in the address.
const VRAM_LOCATION: [u8; 25] =
    [3, 0, 0, 0, 25, 0, 0, 0, 0, 0, 0, 0xf8, 0, 0, 0, 0, 1, 0, 0, 0, 0xf8, 0, 0, 0, 0];

const POINTER_POSITION: [u8; 18] = [7, 0, 0, 0, 18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const POINTER_SHAPE: [u8; 30] =
    [8, 0, 0, 0, 30, 0, 0, 0, 0xff, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1];

/// Active, offset 0, 32 bits, 1024 by 768, pitch 4096.
const SITUATION_UPDATE: [u8; 35] = [
    5, 0, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 32, 0, 4, 0, 0, 0, 3, 0, 0, 0, 16, 0,
    0,
];

/// The whole screen.
const DIRT: [u8; 26] = [10, 0, 0, 0, 26, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0];

fn transmitted(vsp: &mut Vsp) -> Option<Vec<u8>> {
    let mut buf = [0; MAX_HOST_MESSAGE_BYTES];
    vsp.poll_transmit(&mut buf).map(|len| buf[..len].to_vec())
}

#[test]
fn handshake_and_first_dirt_of_hyperv_fb_run_to_the_byte() {
    let modes = ModeList::new(&[Mode::new(1024, 768)], 0).expect("one mode");
    let mut vsp = Vsp::new(VspConfig::new(modes, 8 << 20));

    let action = vsp.receive(&VERSION_REQUEST).expect("version");
    assert!(matches!(action, Some(VspAction::Version { accepted: true, .. })));
    assert_eq!(transmitted(&mut vsp).expect("answer"), [2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 5, 0, 1, 1]);

    assert!(matches!(vsp.receive(&RESOLUTION_REQUEST), Ok(None)));
    let resolutions = transmitted(&mut vsp).expect("answer");
    // Linux reads the count at byte 128 of the body, the default at 129 and the modes from 131 on.
    assert_eq!(resolutions[..8], [14, 0, 0, 0, 143, 0, 0, 0]);
    assert_eq!(resolutions[8 + 128..], [1, 0, 0, 0, 4, 0, 3]);

    let action = vsp.receive(&VRAM_LOCATION).expect("location");
    assert!(matches!(action, Some(VspAction::MapVram { gpa: 0xf800_0000, bytes: 0x80_0000, .. })));
    assert_eq!(transmitted(&mut vsp), None);
    vsp.vram_mapped(true);
    let ack = transmitted(&mut vsp).expect("acknowledgement");
    assert_eq!(ack, [4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0xf8, 0, 0, 0, 0]);

    let action = vsp.receive(&POINTER_POSITION).expect("position");
    assert!(matches!(action, Some(VspAction::PointerPosition(position)) if position.visible));
    let action = vsp.receive(&POINTER_SHAPE).expect("shape");
    assert!(matches!(action, Some(VspAction::PointerShape(shape)) if shape.size.area() == 1));
    assert_eq!(vsp.pointer_pixels().expect("shape").1, [0, 1, 1, 1]);
    let Some(VspAction::Situation(situation)) = vsp.receive(&SITUATION_UPDATE).expect("situation") else {
        panic!("no situation");
    };
    assert_eq!((situation.width, situation.height, situation.pitch_bytes), (1024, 768, 4096));
    assert_eq!(
        transmitted(&mut vsp).expect("acknowledgement"),
        [6, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );

    vsp.want(Features::DIRT);
    assert_eq!(transmitted(&mut vsp).expect("feature change"), [9, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0]);

    let Some(VspAction::Dirt(rects)) = vsp.receive(&DIRT).expect("dirt") else { panic!("no dirt") };
    let verdicts: Vec<_> = rects.map(|rect| DirtVerdict::of(rect, situation.bounds())).collect();
    assert_eq!(verdicts, [DirtVerdict::Accepted { rect: Rect::new(0, 0, 1024, 768), clipped: false }]);
    assert_eq!(transmitted(&mut vsp), None);
    assert_eq!(vsp.stats().faults + vsp.stats().overlong_messages + vsp.stats().unwanted_dirt, 0);
}

#[cfg(feature = "vsc")]
#[test]
fn guest_role_sends_the_same_bytes() {
    use synthvid::vsc::{DriverModel, Vsc, VscConfig};

    let mut vsc = Vsc::new(VscConfig::new(DriverModel::HypervFb, 0xf800_0000));
    let mut buf = [0; 64];
    let mut next = |vsc: &mut Vsc| vsc.poll_transmit(&mut buf).map(|len| buf[..len].to_vec());
    vsc.start();
    assert_eq!(next(&mut vsc).expect("version"), VERSION_REQUEST);
    vsc.receive(&[2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 5, 0, 1, 1]).expect("accepted");
    assert_eq!(next(&mut vsc).expect("resolution"), RESOLUTION_REQUEST);
    let mut resolutions = vec![0; 8 + 131];
    resolutions[0] = 14;
    resolutions[8 + 128] = 1;
    resolutions.extend([0, 4, 0, 3]);
    vsc.receive(&resolutions).expect("modes");
    assert_eq!(next(&mut vsc).expect("location"), VRAM_LOCATION);
    vsc.receive(&[4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0xf8, 0, 0, 0, 0]).expect("ack");
    assert_eq!(next(&mut vsc).expect("position"), POINTER_POSITION);
    assert_eq!(next(&mut vsc).expect("shape"), POINTER_SHAPE);
    assert_eq!(next(&mut vsc).expect("situation"), SITUATION_UPDATE);
    assert_eq!(next(&mut vsc), None);
    vsc.receive(&[9, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0]).expect("feature change");
    let len = vsc.dirt(&[Rect::new(0, 0, 1024, 768)], &mut buf).expect("dirt is wanted");
    assert_eq!(buf[..len], DIRT);
}
