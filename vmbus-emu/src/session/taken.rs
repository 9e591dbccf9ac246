//! A picture as it is judged, and as it is written.

use device_model::{Picture, Synthvid};

/// One moment of the screen. The pointer is a layer of the host's, so no check may see it.
pub(super) struct Taken {
    /// What the guest declared, and nothing else.
    pub(super) surface: Picture,
    with_pointer: Option<Picture>,
}

impl Taken {
    /// The screen now; with `pointer` what is written has the guest's pointer in it.
    pub(super) fn of(video: &Synthvid, pointer: bool) -> Self {
        Self { surface: video.picture(), with_pointer: pointer.then(|| video.picture_with_pointer()) }
    }

    /// What goes into a file.
    pub(super) fn written(&self) -> &Picture {
        self.with_pointer.as_ref().unwrap_or(&self.surface)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use device_model::options::SynthvidOptions;
    use device_model::{ChannelDevice as _, DeviceContext, MonotonicClock, NoObserver, VramKind};
    use surface::{VramBytes, VramError, VramMapError, VramMapper};
    use synthvid::wire::{self, MessageType};
    use vmbus::{ChannelId, pipe};

    use super::*;

    const WIDTH: u32 = 64;
    const HEIGHT: u32 = 48;

    /// Black VRAM, wherever it is asked for.
    struct Black(u64);

    impl VramBytes for Black {
        fn len(&self) -> u64 {
            self.0
        }

        fn read(&self, _offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
            buf.fill(0);
            Ok(())
        }
    }

    struct Mapper;

    impl VramMapper for Mapper {
        fn map(&mut self, _gpa: u64, bytes: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
            Ok(Arc::new(Black(bytes)))
        }

        fn unmap(&mut self) {}

        fn kind(&self) -> Option<VramKind> {
            Some(VramKind::Mmio)
        }
    }

    fn send(video: &mut Synthvid, kind: MessageType, body: &[u8]) {
        let mut message = [0; 256];
        let len = wire::encode(&mut message, kind, &[body]).unwrap();
        let payload = [&pipe::header(len).unwrap()[..], &message[..len]].concat();
        let (clock, observer) = (MonotonicClock::default(), &mut NoObserver);
        let channel = ChannelId(1);
        video
            .receive(
                &payload,
                &mut DeviceContext { channel, now_ns: 0, doorbell_ns: 0, clock: &clock, observer },
            )
            .unwrap();
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn pointer_is_in_what_is_written_on_request_and_never_in_what_is_judged() {
        let options = SynthvidOptions::parse("hyperv-synthvid").unwrap();
        let mut video = Synthvid::new(options, Box::new(Mapper)).unwrap();
        send(&mut video, MessageType::VersionRequest, &words(&[0x0002_0003]));
        send(&mut video, MessageType::VramLocation, &[&[0; 8][..], &[1], &[0; 8]].concat());
        let screen = words(&[WIDTH, HEIGHT, WIDTH * 4]);
        let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &screen].concat();
        send(&mut video, MessageType::SituationUpdate, &situation);
        // One opaque pixel, 0x00030201, at (3, 2).
        send(&mut video, MessageType::PointerPosition, &[&[1, 0][..], &words(&[3, 2])].concat());
        let shape = [&[0xff, 1][..], &words(&[1, 1, 0, 0]), &[1, 2, 3, 255]].concat();
        send(&mut video, MessageType::PointerShape, &shape);

        let at = |picture: &Picture| picture.pixels[usize::try_from(2 * WIDTH + 3).unwrap()];
        let with = Taken::of(&video, true);
        assert_eq!((at(with.written()), at(&with.surface)), (0x0003_0201, 0));
        let without = Taken::of(&video, false);
        assert_eq!((at(without.written()), at(&without.surface)), (0, 0));
    }
}
