//! Screenshots: the surface as a PNG file, and back.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{PngDecoder, PngEncoder};
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageError};
use surface::Surface;
use tempfile::NamedTempFile;

/// Writes `surface` to `path` as an RGB PNG of 8 bits a colour.
///
/// A reader sees the file as it was before or the whole new one, never a part: it is written beside `path` and
/// renamed. A surface without pixels is an error, as PNG has no such picture.
///
/// *Errors*: [`PngError`], which names the path.
pub fn write_png(path: &Path, surface: &Surface) -> Result<(), PngError> {
    let size = surface.size();
    write_png_pixels(path, size.width, size.height, surface.pixels())
}

/// Writes `width` by `height` pixels, each `0x00RRGGBB`, row by row, as [`write_png`] does.
///
/// *Errors*: [`PngError::Pixels`] if `pixels` is empty or of another length; else as [`write_png`].
pub fn write_png_pixels(path: &Path, width: u32, height: u32, pixels: &[u32]) -> Result<(), PngError> {
    let need = u64::from(width) * u64::from(height);
    if need == 0 || pixels.len() as u64 != need {
        let path = path.to_path_buf();
        return Err(PngError::Pixels { path, width, height, got: pixels.len() });
    }
    let io_error = |source| PngError::Io { path: path.to_path_buf(), source };
    let mut file = temporary_beside(path).map_err(io_error)?;
    {
        let mut buffered = BufWriter::new(file.as_file_mut());
        PngEncoder::new(&mut buffered)
            .write_image(&rgb_bytes(pixels), width, height, ExtendedColorType::Rgb8)
            .map_err(|source| PngError::Image { path: path.to_path_buf(), source })?;
        buffered.flush().map_err(io_error)?;
    }
    file.persist(path).map_err(|error| io_error(error.error))?;
    Ok(())
}

/// A picture that was read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Row by row, each `0x00RRGGBB`.
    pub pixels: Vec<u32>,
}

impl Picture {
    /// The colour of a pixel, `0x00RRGGBB`; `None` outside of the picture.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        if x >= self.width {
            return None;
        }
        let index = u64::from(y) * u64::from(self.width) + u64::from(x);
        self.pixels.get(usize::try_from(index).ok()?).copied()
    }
}

/// Reads a PNG of any colour type; colours are brought to 8 bits, transparency is dropped.
///
/// *Errors*: [`PngError::Io`], [`PngError::Image`]; both name the path.
pub fn read_png(path: &Path) -> Result<Picture, PngError> {
    let io_error = |source| PngError::Io { path: path.to_path_buf(), source };
    let image_error = |source| PngError::Image { path: path.to_path_buf(), source };
    let file = BufReader::new(File::open(path).map_err(io_error)?);
    let decoder = PngDecoder::new(file).map_err(image_error)?;
    let image = DynamicImage::from_decoder(decoder).map_err(image_error)?.into_rgb8();
    let (width, height) = image.dimensions();
    let pixels =
        image.pixels().map(|pixel| u32::from_be_bytes([0, pixel.0[0], pixel.0[1], pixel.0[2]])).collect();
    Ok(Picture { width, height, pixels })
}

/// Why a picture could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The picture is not a good PNG, or cannot become one.
    #[error("{}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the codec said.
        source: ImageError,
    },
    /// Size and pixels disagree, or there are none.
    #[error("{}: {got} pixels for a picture of {width}x{height}", path.display())]
    Pixels {
        /// The file.
        path: PathBuf,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Pixels given.
        got: usize,
    },
}

/// A file in the directory of `path`, so that the rename stays on one file system.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".screenshot-").suffix(".png.tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What `File::create` asks for; the process's mask applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

fn rgb_bytes(pixels: &[u32]) -> Vec<u8> {
    pixels
        .iter()
        .flat_map(|pixel| {
            let [_, red, green, blue] = pixel.to_be_bytes();
            [red, green, blue]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthvid::Size;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn picture_reads_back_pixel_by_pixel() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("screen.png");
        let pixels = [0x00ff_0000, 0x0000_ff00, 0x0000_00ff, 0x0012_3456, 0, 0x00ff_ffff];
        write_png_pixels(&path, 3, 2, &pixels).unwrap();
        let picture = read_png(&path).unwrap();
        assert_eq!(picture, Picture { width: 3, height: 2, pixels: pixels.to_vec() });
        assert_eq!(picture.pixel(0, 1), Some(0x0012_3456));
        assert_eq!(picture.pixel(3, 0), None);
    }

    #[test]
    fn black_surface_becomes_a_black_picture_of_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("screen.png");
        write_png(&path, &Surface::with_size(Size::new(640, 480))).unwrap();
        let picture = read_png(&path).unwrap();
        assert_eq!((picture.width, picture.height), (640, 480));
        assert!(picture.pixels.iter().all(|pixel| *pixel == 0));
    }

    #[test]
    fn newer_picture_replaces_the_older_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("screen.png");
        write_png_pixels(&path, 1, 1, &[1]).unwrap();
        write_png_pixels(&path, 1, 1, &[2]).unwrap();
        assert_eq!(read_png(&path).unwrap().pixels, [2]);
        assert_eq!(names(directory.path()), ["screen.png"]);
    }

    #[test]
    fn surface_without_pixels_is_refused_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("screen.png");
        let error = write_png(&path, &Surface::new()).unwrap_err();
        assert!(matches!(error, PngError::Pixels { got: 0, .. }), "{error}");
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn wrong_number_of_pixels_is_refused() {
        let error = write_png_pixels(Path::new("never.png"), 2, 2, &[0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "never.png: 3 pixels for a picture of 2x2");
    }

    #[test]
    fn missing_directory_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent").join("screen.png");
        let error = write_png_pixels(&path, 1, 1, &[0]).unwrap_err();
        assert!(error.to_string().contains("absent/screen.png"), "{error}");
    }

    #[test]
    fn file_that_is_no_png_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text.png");
        std::fs::write(&path, "no picture").unwrap();
        let error = read_png(&path).unwrap_err();
        assert!(matches!(error, PngError::Image { .. }));
        assert!(error.to_string().contains("text.png"), "{error}");
    }
}
