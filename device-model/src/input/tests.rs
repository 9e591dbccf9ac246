use super::*;
use crate::channel::{ChannelDevice, DeviceContext};
use crate::clock::MonotonicClock;
use crate::observer::NoObserver;
use vmbus::{ChannelId, pipe};

fn with_context<R>(act: impl FnOnce(&mut DeviceContext<'_>) -> R) -> R {
    let clock = MonotonicClock::default();
    act(&mut DeviceContext {
        channel: ChannelId(2),
        now_ns: 0,
        doorbell_ns: 0,
        clock: &clock,
        observer: &mut NoObserver,
    })
}

fn packets(device: &mut dyn ChannelDevice) -> Vec<Vec<u8>> {
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| device.poll_transmit(&mut buffer).map(|len| buffer[..len].to_vec())).collect()
}

/// hid-hyperv's requests of Linux 6.1: the ring holds three bytes more than the pipe says.
fn from_linux(message: &[u8]) -> Vec<u8> {
    let header = pipe::header(message.len()).unwrap();
    [&header[..], message, &[0; 3]].concat()
}

const KEYBOARD_REQUEST: [u8; 8] = [1, 0, 0, 0, 0, 0, 1, 0];
const MOUSE_REQUEST: [u8; 12] = [0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 2, 0];
const MOUSE_ACK: [u8; 9] = [3, 0, 0, 0, 1, 0, 0, 0, 0];

#[test]
fn keyboard_packets_have_no_pipe_header_and_mouse_packets_do() {
    let (mut keyboard, mut mouse) = (Keyboard::new(), Mouse::new());
    with_context(|context| {
        keyboard.receive(&KEYBOARD_REQUEST, context).unwrap();
        mouse.receive(&from_linux(&MOUSE_REQUEST), context).unwrap();
    });
    assert_eq!(packets(&mut keyboard), [[2, 0, 0, 0, 1, 0, 0, 0]]);
    let said = packets(&mut mouse);
    let sizes: Vec<usize> = said.iter().map(|packet| pipe::unframe(packet).unwrap().len()).collect();
    assert_eq!(sizes, [13, 8 + 41 + 65]);
    with_context(|context| mouse.receive(&from_linux(&MOUSE_ACK), context)).unwrap();
    assert!(keyboard.play(&Chord::parse("a").unwrap()) && mouse.click(Button::Left));
    assert_eq!((packets(&mut keyboard).len(), packets(&mut mouse).len()), (2, 2));
}

#[test]
fn offers_differ_and_only_the_keyboard_is_no_pipe() {
    use vmbus::server::PipeMode;
    let (keyboard, mouse) = (Keyboard::new().offer(), Mouse::new().offer());
    assert_eq!((keyboard.pipe, mouse.pipe), (PipeMode::Raw, PipeMode::Message));
    assert_ne!(keyboard.instance, mouse.instance);
    assert_eq!((keyboard.mmio_megabytes, mouse.mmio_megabytes), (0, 0));
}

#[test]
fn closed_channel_forgets_keys_that_wait() {
    let mut keyboard = Keyboard::new();
    with_context(|context| keyboard.receive(&KEYBOARD_REQUEST, context)).unwrap();
    keyboard.play(&Chord::parse("ctrl+alt+del").unwrap());
    with_context(|context| keyboard.closed(context));
    assert!(packets(&mut keyboard).is_empty() && !keyboard.is_ready());
    assert_eq!(keyboard.stats().dropped, 6);
    assert!(!keyboard.play(&Chord::parse("a").unwrap()));
}

#[test]
fn broken_messages_are_faults_that_say_whose_they_are() {
    let (mut keyboard, mut mouse) = (Keyboard::new(), Mouse::new());
    let said = |fault: DeviceFault| (fault.is_fatal(), fault.to_string());
    with_context(|context| {
        let (fatal, text) = said(keyboard.receive(&[3, 0, 0, 0], context).unwrap_err());
        assert!(fatal && text.contains("EVENT from the guest"), "{text}");
        let (fatal, text) = said(keyboard.receive(&[77, 0, 0, 0], context).unwrap_err());
        assert!(!fatal && text.contains("unknown number"), "{text}");
        let (fatal, text) = said(mouse.receive(&[1, 0, 0], context).unwrap_err());
        assert!(fatal && text.contains("3 bytes"), "{text}");
        let (fatal, text) = said(mouse.receive(&from_linux(&MOUSE_ACK), context).unwrap_err());
        assert!(fatal && text.contains("DEVICE_INFO_ACK"), "{text}");
        let (fatal, text) = said(mouse.receive(&from_linux(&[9, 0, 0, 0, 0, 0, 0, 0]), context).unwrap_err());
        assert!(!fatal && text.contains("unknown number"), "{text}");
    });
}
