//! Initramfs images: cpio archives that are the same bytes for the same input.
