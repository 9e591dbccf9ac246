//! Everything about guests that is not emulation: Debian kernels, initramfs images, the KVM lab, checks of what a guest drew.
//!
//! [`packages`] turns a name like `debian/6.1-cloud` into a kernel image and a module tree; [`modules`] finds what has to be
//! loaded and in which order, with [`video_driver`] for a driver of the user's and [`kernel_tree`] for a kernel of theirs; [`initramfs`] packs it with [`agent`], the static program that is init there; [`lab`] runs a host
//! program under a KVM that QEMU emulates, for machines whose own KVM cannot run Linux; [`probe`] says whether it can, and what
//! to install; [`kexec`] adds what starts a second kernel; [`console_check`] proves a picture of a text console right without knowing its font.

pub mod agent;
pub mod cache;
pub mod console_check;
mod elf;
pub mod initramfs;
pub mod kernel_tree;
pub mod kexec;
pub mod lab;
mod module_file;
pub mod modules;
pub mod packages;
pub mod probe;
pub mod video_driver;

pub use guest_agent;
