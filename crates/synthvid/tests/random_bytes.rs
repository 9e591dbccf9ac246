//! Whatever a guest sends, the device neither panics, nor grows, nor loses its invariants.

use proptest::prelude::*;
use synthvid::wire::{MAX_HOST_MESSAGE_BYTES, MessageType, encode};
use synthvid::{DirtVerdict, Features, Mode, ModeList, Vsp, VspAction, VspConfig};

const VRAM_BYTES: u64 = 8 << 20;

fn vsp() -> Box<Vsp> {
    let modes = ModeList::new(&[Mode::new(1024, 768)], 0).expect("one mode");
    Box::new(Vsp::new(VspConfig::new(modes, VRAM_BYTES)))
}

/// Bodies that get past the first checks more often than noise does.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), Just(32), Just(0xff)], 0..64),
        (any::<u32>(), 0..=20_000u32, 0..=20_000u32, any::<u32>()).prop_map(
            |(offset, width, height, pitch)| {
                let mut body = vec![0; 8];
                body.extend([1, 1]);
                body.extend((offset >> 8).to_le_bytes());
                body.push(32);
                body.extend([width, height, pitch >> 8].iter().flat_map(|value| value.to_le_bytes()));
                body
            }
        ),
        prop::collection::vec(any::<[i32; 4]>(), 1..4).prop_map(|rects| {
            let mut body = vec![0, rects.len().to_le_bytes()[0]];
            body.extend(rects.iter().flatten().flat_map(|edge| edge.to_le_bytes()));
            body
        }),
        Just([3u32, 0x0002_0003, 0x0005_0003].iter().flat_map(|word| word.to_le_bytes()).skip(8).collect()),
        any::<u16>().prop_map(|page| {
            let gpa = u64::from(page) << 12;
            [&gpa.to_le_bytes()[..], &[1], &gpa.to_le_bytes()].concat()
        }),
    ];
    (0..18u32, body).prop_map(|(number, body)| {
        let mut buf = vec![0; body.len() + 8];
        encode(&mut buf, MessageType::VersionRequest, &[&body]).expect("it fits");
        buf[..4].copy_from_slice(&number.to_le_bytes());
        buf
    })
}

fn check(vsp: &mut Vsp, message: &[u8]) -> Result<(), TestCaseError> {
    match vsp.receive(message) {
        Ok(Some(VspAction::MapVram { gpa, .. })) => vsp.vram_mapped(gpa % 0x3000 != 0),
        Ok(Some(VspAction::Situation(situation))) => {
            prop_assert!(situation.vram_end() <= VRAM_BYTES);
            prop_assert!(vsp.is_vram_mapped());
        }
        Ok(Some(VspAction::Dirt(rects))) => {
            let bounds = vsp.situation().expect("dirt needs a situation").bounds();
            for rect in rects {
                if let Some(accepted) = DirtVerdict::of(rect, bounds).accepted() {
                    prop_assert!(!accepted.is_empty() && bounds.contains_rect(&accepted));
                }
            }
        }
        Ok(Some(VspAction::PointerShape(shape))) => {
            let (whole, pixels) = vsp.pointer_pixels().expect("the shape is whole");
            prop_assert_eq!(whole, shape);
            prop_assert_eq!(pixels.len(), shape.bytes());
        }
        Ok(_) => {}
        Err(fault) => prop_assert!(!fault.to_string().is_empty()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn noise_never_panics(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let mut vsp = vsp();
        for message in &messages {
            check(&mut vsp, message)?;
        }
        prop_assert_eq!(vsp.stats().messages, messages.len() as u64);
    }

    #[test]
    fn likely_messages_in_any_order_keep_the_invariants(messages in prop::collection::vec(message(), 0..60)) {
        let mut vsp = vsp();
        vsp.want(Features::DIRT);
        vsp.receive(&[1, 0, 0, 0, 12, 0, 0, 0, 3, 0, 5, 0]).expect("3.5 is accepted");
        for message in &messages {
            check(&mut vsp, message)?;
        }
        let mut buf = [0; MAX_HOST_MESSAGE_BYTES];
        let sent = std::iter::from_fn(|| vsp.poll_transmit(&mut buf)).count();
        prop_assert!(sent <= 7, "{} messages waited", sent);
    }
}

#[cfg(feature = "vsc")]
proptest! {
    #[test]
    fn guest_role_survives_any_host(messages in prop::collection::vec(message(), 0..40)) {
        use synthvid::vsc::{DriverModel, Vsc, VscConfig};

        let mut vsc = Vsc::new(VscConfig::new(DriverModel::HypervFb, 0xf800_0000));
        vsc.start();
        for message in &messages {
            if let Err(fault) = vsc.receive(message) {
                prop_assert!(!fault.to_string().is_empty());
            }
        }
        let mut buf = [0; 64];
        prop_assert!(std::iter::from_fn(|| vsc.poll_transmit(&mut buf)).count() <= 6);
    }
}
