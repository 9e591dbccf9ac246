//! KVM's own counters of one virtual processor, read from its binary statistics.
//!
//! A guest's exits that the kernel handles (page faults, timers, halts, in-kernel hypercalls) never reach user space; only
//! these counters have them. The file describes itself: a header, descriptors with names, then the data.
//! Source: Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kvm_bindings::{
    KVM_CAP_BINARY_STATS_FD, KVM_STATS_TYPE_CUMULATIVE, KVM_STATS_TYPE_INSTANT, KVM_STATS_TYPE_MASK,
    KVM_STATS_TYPE_PEAK,
};
use kvm_ioctls::{VcpuFd, VmFd};
use thiserror::Error;
use vmm_sys_util::errno;

use crate::caps::HostCaps;
use crate::ioctl;

/// Name of the statistic that counts every exit of a virtual processor, whoever handles it.
pub const EXITS: &str = "exits";

/// Header at the start of the file: flags, name size, number of descriptors, and offsets of id, descriptors and data.
const HEADER_BYTES: usize = 24;
/// A descriptor before its name: flags, exponent, number of values, offset of the first, bucket size.
const DESCRIPTOR_BYTES: usize = 16;
/// Longest name accepted. Linux 6.18 has 48 bytes.
const MAX_NAME_BYTES: u32 = 256;
/// Most descriptors accepted. Linux 6.18 has about 60 for an x86 virtual processor.
const MAX_DESCRIPTORS: u32 = 4096;

/// Why a counter cannot be had or read.
#[derive(Debug, Error)]
pub enum StatsError {
    /// This KVM has no binary statistics.
    #[error("this KVM has no binary statistics (KVM_CAP_BINARY_STATS_FD, Linux 5.14)")]
    Missing,
    /// KVM refused to open the statistics.
    #[error("KVM refused to open statistics: {0}")]
    Kvm(errno::Error),
    /// The file could not be read, or ends before the data it promises.
    #[error("cannot read KVM's statistics: {0}")]
    Read(#[from] io::Error),
    /// The header describes more than any kernel has.
    #[error("KVM's statistics have {what} of {found}, limit is {limit}")]
    Implausible {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u32,
        /// The largest that is accepted.
        limit: u32,
    },
    /// No statistic has this name.
    #[error("KVM's statistics have no {name:?} among {count}")]
    NoSuchStatistic {
        /// The name that was looked for.
        name: String,
        /// How many statistics there are.
        count: u32,
    },
    /// There is one of this name, but it is not a single number.
    #[error("KVM's statistic {name:?} is no single number: {values} values of type {kind}")]
    NotOneNumber {
        /// Its name.
        name: String,
        /// How many values it has.
        values: u16,
        /// KVM_STATS_TYPE_*.
        kind: u32,
    },
}

/// One counter of one virtual processor.
///
/// Reading it takes no lock of KVM's, so that it may be read while the processor runs.
#[derive(Debug)]
pub struct VcpuCounter {
    file: File,
    offset: u64,
    /// Kernels before 6.5 free the counters with the VM, although the file is still open.
    _vm: Arc<VmFd>,
}

impl VcpuCounter {
    /// Opens the counter called `name`, such as [`EXITS`], of `vcpu`, a processor of `vm`.
    ///
    /// Do it before the processor's thread starts: KVM makes the call wait while the processor runs.
    ///
    /// # Errors
    /// [`StatsError::Missing`] before Linux 5.14; the others mean a KVM with other statistics than the known ones.
    pub fn open(caps: &HostCaps, vm: &Arc<VmFd>, vcpu: &VcpuFd, name: &str) -> Result<Self, StatsError> {
        if !caps.has(KVM_CAP_BINARY_STATS_FD) {
            return Err(StatsError::Missing);
        }
        let file = ioctl::vcpu_stats(vcpu).map_err(StatsError::Kvm)?;
        let offset = locate(&file, name)?;
        Ok(Self { file, offset, _vm: Arc::clone(vm) })
    }

    /// The counter's value now.
    ///
    /// # Errors
    /// [`StatsError::Read`].
    pub fn value(&self) -> Result<u64, StatsError> {
        let mut value = [0; 8];
        self.file.read_exact_at(&mut value, self.offset)?;
        Ok(u64::from_ne_bytes(value))
    }
}

/// The counters of exits of one virtual processor, by reason: those statistics whose name ends in `_exits`, such as
/// `io_exits`, which Linux keeps beside [`EXITS`]. An exit may be in none of them, or in two.
#[derive(Debug)]
pub struct ExitReasons {
    file: File,
    /// Names and places.
    counters: Vec<(String, u64)>,
    /// As in [`VcpuCounter`].
    _vm: Arc<VmFd>,
}

impl ExitReasons {
    /// Opens the counters of `vcpu`, a processor of `vm`, as [`VcpuCounter::open`].
    ///
    /// # Errors
    /// [`StatsError::Missing`] before Linux 5.14; the others mean a KVM with other statistics than the known ones.
    pub fn open(caps: &HostCaps, vm: &Arc<VmFd>, vcpu: &VcpuFd) -> Result<Self, StatsError> {
        if !caps.has(KVM_CAP_BINARY_STATS_FD) {
            return Err(StatsError::Missing);
        }
        let file = ioctl::vcpu_stats(vcpu).map_err(StatsError::Kvm)?;
        let counters = locate_exit_reasons(&file)?;
        Ok(Self { file, counters, _vm: Arc::clone(vm) })
    }

    /// Name and value of each.
    ///
    /// # Errors
    /// [`StatsError::Read`].
    pub fn values(&self) -> Result<Vec<(&str, u64)>, StatsError> {
        let mut values = Vec::with_capacity(self.counters.len());
        for (name, offset) in &self.counters {
            let mut value = [0; 8];
            self.file.read_exact_at(&mut value, *offset)?;
            values.push((name.as_str(), u64::from_ne_bytes(value)));
        }
        Ok(values)
    }
}

/// Names and places of the numbers that count exits by reason.
fn locate_exit_reasons(file: &impl FileExt) -> Result<Vec<(String, u64)>, StatsError> {
    let header = Header::read(file)?;
    let mut descriptor = vec![0; DESCRIPTOR_BYTES + header.name_bytes];
    let mut at = u64::from(header.descriptors_offset);
    let mut found = Vec::new();
    for _ in 0..header.count {
        file.read_exact_at(&mut descriptor, at)?;
        at += descriptor.len() as u64;
        let (fixed, padded_name) = descriptor.split_at(DESCRIPTOR_BYTES);
        let name = padded_name.split(|&byte| byte == 0).next().unwrap_or_default();
        if let Ok(name) = std::str::from_utf8(name)
            && name.ends_with("_exits")
            && let Ok(offset) = offset_of_number(fixed, name)
        {
            found.push((name.to_owned(), u64::from(header.data_offset) + u64::from(offset)));
        }
    }
    Ok(found)
}

/// Where in the file the number called `name` is.
fn locate(file: &impl FileExt, name: &str) -> Result<u64, StatsError> {
    let header = Header::read(file)?;
    let mut descriptor = vec![0; DESCRIPTOR_BYTES + header.name_bytes];
    let mut at = u64::from(header.descriptors_offset);
    for _ in 0..header.count {
        file.read_exact_at(&mut descriptor, at)?;
        at += descriptor.len() as u64;
        let (fixed, padded_name) = descriptor.split_at(DESCRIPTOR_BYTES);
        if padded_name.split(|&byte| byte == 0).next() == Some(name.as_bytes()) {
            return Ok(u64::from(header.data_offset) + u64::from(offset_of_number(fixed, name)?));
        }
    }
    Err(StatsError::NoSuchStatistic { name: name.to_owned(), count: header.count })
}

/// The offset, from the start of the data, of a statistic that is a single number.
fn offset_of_number(descriptor: &[u8], name: &str) -> Result<u32, StatsError> {
    let kind = u32_at(descriptor, 0) & KVM_STATS_TYPE_MASK;
    let values = u16::from_ne_bytes(bytes_at(descriptor, 6));
    let simple = [KVM_STATS_TYPE_CUMULATIVE, KVM_STATS_TYPE_INSTANT, KVM_STATS_TYPE_PEAK].contains(&kind);
    if values == 1 && simple {
        Ok(u32_at(descriptor, 8))
    } else {
        Err(StatsError::NotOneNumber { name: name.to_owned(), values, kind })
    }
}

/// What of the header matters here.
struct Header {
    name_bytes: usize,
    count: u32,
    descriptors_offset: u32,
    data_offset: u32,
}

impl Header {
    fn read(file: &impl FileExt) -> Result<Self, StatsError> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        let name_bytes = u32_at(&bytes, 4);
        let count = u32_at(&bytes, 8);
        for (what, found, limit) in
            [("a name size", name_bytes, MAX_NAME_BYTES), ("a number", count, MAX_DESCRIPTORS)]
        {
            if found > limit {
                return Err(StatsError::Implausible { what, found, limit });
            }
        }
        Ok(Self {
            name_bytes: name_bytes as usize,
            count,
            descriptors_offset: u32_at(&bytes, 16),
            data_offset: u32_at(&bytes, 20),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes_at(bytes, at))
}

/// Bytes of a structure whose size the caller has made sure of; zeros behind its end.
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME_BYTES: u32 = 48;
    const DESCRIPTORS: u32 = 24 + 32;
    const DATA: u32 = 0x400;

    /// A file that is bytes.
    struct Bytes(Vec<u8>);

    impl FileExt for Bytes {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
            let count = buffer.len().min(self.0.len() - start);
            buffer[..count].copy_from_slice(&self.0[start..][..count]);
            Ok(count)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    struct Statistic(&'static str, u32, u16, u32);

    fn file(statistics: &[Statistic]) -> Bytes {
        let count = u32::try_from(statistics.len()).unwrap();
        let mut bytes: Vec<u8> = [0, NAME_BYTES, count, 24, DESCRIPTORS, DATA]
            .iter()
            .flat_map(|field: &u32| field.to_ne_bytes())
            .collect();
        bytes.resize(DESCRIPTORS as usize, b'i');
        for Statistic(name, flags, values, offset) in statistics {
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(0_i16.to_ne_bytes());
            bytes.extend(values.to_ne_bytes());
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(0_u32.to_ne_bytes());
            let mut padded = name.as_bytes().to_vec();
            padded.resize(NAME_BYTES as usize, 0);
            bytes.extend(padded);
        }
        bytes.resize(DATA as usize + 64, 0xaa);
        Bytes(bytes)
    }

    fn usual() -> Bytes {
        file(&[
            Statistic("halt_wait_hist", KVM_STATS_TYPE_MASK & 4, 32, 64),
            Statistic("io_exits", 0, 1, 8),
            Statistic("exits", 0, 1, 24),
        ])
    }

    fn with_header(field: usize, value: u32) -> Bytes {
        let mut bytes = usual();
        bytes.0[field * 4..][..4].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    #[test]
    fn counter_is_found_by_its_whole_name() {
        assert_eq!(locate(&usual(), EXITS).unwrap(), u64::from(DATA) + 24);
        assert_eq!(locate(&usual(), "io_exits").unwrap(), u64::from(DATA) + 8);
        for name in ["exit", "exits2", ""] {
            let error = locate(&usual(), name).unwrap_err();
            assert!(matches!(error, StatsError::NoSuchStatistic { count: 3, .. }), "{name:?}: {error}");
        }
    }

    #[test]
    fn exit_reasons_are_the_numbers_whose_name_says_so() {
        let file = file(&[
            Statistic("exits", 0, 1, 24),
            Statistic("io_exits", 0, 1, 8),
            Statistic("halt_exits", 0, 1, 16),
            Statistic("hist_exits", KVM_STATS_TYPE_MASK & 4, 32, 64),
        ]);
        let found = locate_exit_reasons(&file).unwrap();
        let data = u64::from(DATA);
        assert_eq!(found, [("io_exits".to_owned(), data + 8), ("halt_exits".to_owned(), data + 16)]);
    }

    #[test]
    fn name_that_fills_its_field_needs_no_zero() {
        const LONG: &str = "a_name_of_48_bytes_without_any_zero_at_its_end_x";
        assert_eq!(locate(&file(&[Statistic(LONG, 0, 1, 0)]), LONG).unwrap(), u64::from(DATA));
    }

    #[test]
    fn histogram_is_no_counter() {
        let error = locate(&usual(), "halt_wait_hist").unwrap_err();
        assert!(matches!(error, StatsError::NotOneNumber { values: 32, kind: 4, .. }), "{error}");
        let error = locate(&file(&[Statistic(EXITS, 0, 0, 0)]), EXITS).unwrap_err();
        assert!(matches!(error, StatsError::NotOneNumber { values: 0, kind: 0, .. }), "{error}");
    }

    #[test]
    fn file_cut_anywhere_before_the_descriptor_ends_is_an_error() {
        let whole = usual();
        let needed = DESCRIPTORS as usize + 3 * (DESCRIPTOR_BYTES + NAME_BYTES as usize);
        for length in 0..needed {
            let error = locate(&Bytes(whole.0[..length].to_vec()), EXITS).unwrap_err();
            assert!(matches!(error, StatsError::Read(_)), "{length} bytes: {error}");
        }
        assert!(locate(&Bytes(whole.0[..needed].to_vec()), EXITS).is_ok());
    }

    #[test]
    fn sizes_beyond_any_kernel_are_refused_before_memory_is_taken() {
        for (field, limit) in [(1, MAX_NAME_BYTES), (2, MAX_DESCRIPTORS)] {
            for value in [limit + 1, u32::MAX] {
                let error = locate(&with_header(field, value), EXITS).unwrap_err();
                assert!(matches!(error, StatsError::Implausible { found, .. } if found == value), "{error}");
            }
        }
    }

    #[test]
    fn descriptors_behind_the_end_are_an_error_and_no_names_match_nothing() {
        assert!(matches!(locate(&with_header(4, u32::MAX), EXITS), Err(StatsError::Read(_))));
        assert!(matches!(locate(&with_header(2, 0), EXITS), Err(StatsError::NoSuchStatistic { .. })));
        assert!(matches!(locate(&with_header(1, 0), EXITS), Err(StatsError::NoSuchStatistic { .. })));
    }

    #[test]
    fn data_far_out_is_located_without_overflow() {
        assert_eq!(locate(&with_header(5, u32::MAX), EXITS).unwrap(), u64::from(u32::MAX) + 24);
    }
}
