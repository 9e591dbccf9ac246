//! What a person looks at after a measurement: one HTML page, and one trace for ui.perfetto.dev.
//!
//! Both are functions from a [`Measurement`] to text; whoever calls writes the files. A measurement holds strings and
//! numbers that a guest chose, so every string is escaped and shortened, and every list that is drawn has a bound; the
//! page says where it left something out. A value that was not measured is shown as that, never as zero.

mod axis;
mod checks;
mod costs;
mod data_url;
mod facts;
mod heat_map;
mod histogram;
mod number;
mod page;
mod summary;
mod text;
mod timeline;
pub mod trace;
mod workload;

use meter::measurement::Measurement;

/// Pictures that belong to a measurement, each a whole PNG file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pictures<'a> {
    /// The host's picture of the guest's screen at the end.
    pub screenshot: Option<&'a [u8]>,
}

/// Most workloads on a page.
pub const WORKLOADS_MAX: usize = 64;

/// Largest picture that goes into a page, in bytes of its file.
pub const PICTURE_BYTES_MAX: usize = 16 << 20;

/// The page: one HTML file that holds all that it shows, without any script.
///
/// Its own policy forbids it every request; plots are inline SVG, pictures are data URLs. Bytes that do not begin as a
/// PNG, and pictures above [`PICTURE_BYTES_MAX`], are left out, and the page says so.
#[must_use]
pub fn html(measurement: &Measurement, pictures: &Pictures<'_>) -> String {
    page::html(measurement, pictures)
}

#[cfg(test)]
mod tests;
