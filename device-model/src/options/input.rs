//! The input devices' tables: they have names, and no keys.

use super::spec::DeviceSpec;

/// A device without keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

/// The table of `hyperv-keyboard`.
pub static KEYBOARD: DeviceSpec<NoKeys> = DeviceSpec {
    name: "hyperv-keyboard",
    doc: "Hyper-V synthetic keyboard, the device of hyperv-keyboard; no keys",
    keys: &[],
};

/// The table of `hyperv-mouse`.
pub static MOUSE: DeviceSpec<NoKeys> = DeviceSpec {
    name: "hyperv-mouse",
    doc: "Hyper-V synthetic mouse with an absolute position, the device of hid-hyperv; no keys",
    keys: &[],
};
