//! The form of a wire structure: little endian, packed, its size checked when it is compiled.

/// Declares a structure of the wire with its size in bytes.
macro_rules! wire_struct {
    ($(#[$doc:meta])* $name:ident, $bytes:literal { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable, zerocopy::Unaligned,
        )]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        const _: () = assert!(size_of::<$name>() == $bytes, "the wire fixes the size");
    };
}

pub(crate) use wire_struct;

/// Writes `parts` one after another to the start of `buffer`; their length, or `None` if it is too short.
pub(crate) fn write(buffer: &mut [u8], parts: &[&[u8]]) -> Option<usize> {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut rest = buffer.get_mut(..len)?;
    for part in parts {
        let (place, after) = rest.split_at_mut_checked(part.len())?;
        place.copy_from_slice(part);
        rest = after;
    }
    Some(len)
}
