//! All the `--device` texts of a machine together: at most one device of each kind.

use core::fmt;

use super::{DeviceOptions, KEYBOARD, MOUSE, OptionError, SYNTHVID, SynthvidOptions};

/// The devices of a machine. There is always a video device, the one without keys if none was named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSet {
    /// The video device.
    pub video: SynthvidOptions,
    /// There is a keyboard.
    pub keyboard: bool,
    /// There is a mouse.
    pub mouse: bool,
}

/// Texts that describe no machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceSetError {
    /// One of them is wrong by itself.
    Option(OptionError),
    /// Two of them name the same kind; the Linux drivers serve one of each.
    Second {
        /// The kind.
        device: &'static str,
        /// The text that is one too many.
        text: String,
    },
}

impl DeviceSet {
    /// Reads the texts in their order.
    ///
    /// # Errors
    /// The first text that is wrong, or names a device that there is already.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, DeviceSetError> {
        let (mut video, mut keyboard, mut mouse) = (None, false, false);
        for text in texts {
            let (device, there) = match text.parse().map_err(DeviceSetError::Option)? {
                DeviceOptions::Synthvid(options) => (SYNTHVID.name, video.replace(options).is_some()),
                DeviceOptions::Keyboard => (KEYBOARD.name, core::mem::replace(&mut keyboard, true)),
                DeviceOptions::Mouse => (MOUSE.name, core::mem::replace(&mut mouse, true)),
            };
            if there {
                return Err(DeviceSetError::Second { device, text: text.to_owned() });
            }
        }
        Ok(Self { video: video.unwrap_or_default(), keyboard, mouse })
    }

    /// The texts that read back as this set.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let input = [(self.keyboard, KEYBOARD.name), (self.mouse, MOUSE.name)];
        let input = input.into_iter().filter(|(there, _)| *there).map(|(_, name)| name.to_owned());
        core::iter::once(self.video.to_string()).chain(input).collect()
    }
}

impl fmt::Display for DeviceSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::Second { device, text } => write!(f, "a second {device}, \"{text}\", limit is 1"),
        }
    }
}

impl core::error::Error for DeviceSetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_set_and_texts_read_back() {
        let texts = ["hyperv-mouse", "hyperv-synthvid,vram=4M", "hyperv-keyboard"];
        let set = DeviceSet::parse(texts).unwrap();
        assert_eq!((set.video.vram_bytes, set.keyboard, set.mouse), (4 << 20, true, true));
        let again = set.texts();
        assert_eq!(DeviceSet::parse(again.iter().map(String::as_str)), Ok(set));
    }

    #[test]
    fn video_is_there_without_being_named() {
        assert_eq!(DeviceSet::parse([]), Ok(DeviceSet::default()));
        let set = DeviceSet::parse(["hyperv-keyboard"]).unwrap();
        assert_eq!(set, DeviceSet { keyboard: true, ..DeviceSet::default() });
    }

    #[test]
    fn second_of_a_kind_is_refused_by_its_text() {
        for (texts, message) in [
            (
                ["hyperv-synthvid", "hyperv-synthvid,vram=4M"],
                "a second hyperv-synthvid, \"hyperv-synthvid,vram=4M\", limit is 1",
            ),
            (["hyperv-mouse", "hyperv-mouse"], "a second hyperv-mouse, \"hyperv-mouse\", limit is 1"),
        ] {
            assert_eq!(DeviceSet::parse(texts).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn input_device_with_a_key_is_pointed_at() {
        let error = DeviceSet::parse(["hyperv-mouse,dpi=400"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown key \"dpi\", this device has none\n  hyperv-mouse,dpi=400\n               ^^^"
        );
    }
}
