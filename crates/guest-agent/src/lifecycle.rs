//! What happens to a video driver in its life besides drawing: it is bound and unbound, loaded and unloaded, its device goes
//! away and comes back, the kernel sleeps, or another kernel takes over.

use serde::{Deserialize, Serialize};

/// Where the host puts what [`Step::KexecLoad`] needs.
pub mod kexec {
    /// The program that makes the one system call; see its own description in the guest kit.
    pub const LOADER: &str = "/kexec/load";
    /// The kernel, a bzImage.
    pub const KERNEL: &str = "/kexec/vmlinuz";
    /// Its initramfs.
    pub const INITRAMFS: &str = "/kexec/initramfs";
}

/// One step. Each is over when its effect is there: a step that brings a screen ends when the screen can be drawn on and is blank,
/// one that takes it away when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Begins to print numbered lines on the text console, from a thread of its own, screen or no screen.
    PrintStart,
    /// Ceases to.
    PrintStop,
    /// Takes the video driver off its device.
    Unbind,
    /// Gives it its device back.
    Bind,
    /// Removes the video driver's module, and the console from the frame buffer before, if that holds it.
    UnloadModule,
    /// Loads it again.
    LoadModule,
    /// Closes the frame buffer, which the agent keeps open otherwise.
    LetGo,
    /// Waits until the host has taken the device away.
    AwaitGone,
    /// Waits until the host has given it back, and the driver has made its screen.
    AwaitBack,
    /// Freezes all devices, makes an image of the memory, and thaws them: hibernation without a place to write the image to.
    Hibernate,
    /// Loads the kernel that the host put under `/kexec`, to be started by [`Step::KexecStart`].
    KexecLoad,
    /// Starts it. Nothing comes after it but the new kernel's own `hello`.
    KexecStart,
}

impl Step {
    /// Whether the screen of before does not outlive it, so that nobody may hold it.
    #[must_use]
    pub const fn takes_screen(self) -> bool {
        matches!(self, Self::Unbind | Self::UnloadModule | Self::LetGo | Self::AwaitGone)
    }

    /// Whether there is a new screen after it.
    #[must_use]
    pub const fn brings_screen(self) -> bool {
        matches!(self, Self::Bind | Self::LoadModule | Self::AwaitBack)
    }
}
