//! `/dev/fb0`: its geometry from sysfs, and drawing through a mapping of it, which is what user space's programs do.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use guest_agent::{pattern::Picture, protocol::Driver};
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};

use crate::firmware;

const DEVICE: &str = "/dev/fb0";
const SYSFS: &str = "/sys/class/graphics/fb0";
const PAGE_BYTES: usize = 4096;

/// A frame buffer that can be drawn on.
#[derive(Debug)]
pub(crate) struct Framebuffer {
    geometry: Driver,
    device: File,
    /// Mapped on first use: the mapping itself makes a driver track writes, which must not happen unasked.
    map: Option<MmapRegion>,
}

/// Whether there is a frame buffer, and not the firmware's. While one goes and the other comes, `/dev/fb0` may have no device.
pub(crate) fn is_the_drivers() -> bool {
    exists() && device_name().is_some_and(|device| !firmware::is_one(&device))
}

/// The device that the frame buffer belongs to.
fn device_name() -> Option<String> {
    let device = fs::canonicalize(format!("{SYSFS}/device")).ok()?;
    Some(device.file_name()?.to_string_lossy().into_owned())
}

/// Whether the driver made its device.
pub(crate) fn exists() -> bool {
    Path::new(DEVICE).exists()
}

impl Framebuffer {
    /// Reads the geometry and opens the device.
    pub(crate) fn open() -> io::Result<Self> {
        let geometry = read_geometry()?;
        Ok(Self { geometry, device: OpenOptions::new().read(true).write(true).open(DEVICE)?, map: None })
    }

    /// What it is.
    pub(crate) const fn geometry(&self) -> &Driver {
        &self.geometry
    }

    /// Draws a whole picture.
    pub(crate) fn draw(&mut self, picture: &Picture) -> Result<(), String> {
        let (width, height) = (self.geometry.width, self.geometry.height);
        self.rows((0, 0), (width, height), |y, row| picture.write_row(y, row))
    }

    /// Fills a rectangle with one colour.
    pub(crate) fn fill(&mut self, origin: (u32, u32), size: (u32, u32), color: u32) -> Result<(), String> {
        self.rows(origin, size, |_, row| {
            for pixel in row.chunks_exact_mut(4) {
                pixel.copy_from_slice(&color.to_le_bytes());
            }
        })
    }

    /// Makes the driver send what it has collected.
    pub(crate) fn flush(&self) -> Result<(), String> {
        self.device.sync_all().map_err(|error| format!("cannot sync {DEVICE}: {error}"))
    }

    /// Fills a rectangle with one colour by write(2), without a mapping.
    pub(crate) fn write_fill(
        &self,
        (x, y): (u32, u32),
        (width, height): (u32, u32),
        color: u32,
    ) -> Result<(), String> {
        self.check_inside((x, y), (width, height))?;
        let row = color.to_le_bytes().repeat(width as usize);
        for line in y..y + height {
            let offset = u64::from(line) * u64::from(self.geometry.stride) + u64::from(x) * 4;
            let written = self.device.write_all_at(&row, offset);
            written.map_err(|error| format!("cannot write to {DEVICE}: {error}"))?;
        }
        Ok(())
    }

    /// Reads `height` whole rows from row `y` on back by read(2), 0x00RRGGBB a pixel.
    pub(crate) fn read_rows(&self, y: u32, height: u32) -> Result<Vec<u32>, String> {
        let width = self.geometry.width;
        self.check_inside((0, y), (width, height))?;
        let mut row = vec![0; width as usize * 4];
        let mut pixels = Vec::with_capacity(width as usize * height as usize);
        for line in y..y + height {
            let offset = u64::from(line) * u64::from(self.geometry.stride);
            let read = self.device.read_exact_at(&mut row, offset);
            read.map_err(|error| format!("cannot read {DEVICE}: {error}"))?;
            pixels.extend(row.as_chunks().0.iter().map(|pixel| u32::from_le_bytes(*pixel) & 0x00ff_ffff));
        }
        Ok(pixels)
    }

    /// Writes `size` pixels from `origin` on through the mapping, row by row; `paint` gets the row's number within the rectangle, and
    /// its bytes.
    pub(crate) fn rows(
        &mut self,
        (x, y): (u32, u32),
        (width, height): (u32, u32),
        paint: impl Fn(u32, &mut [u8]),
    ) -> Result<(), String> {
        self.check_inside((x, y), (width, height))?;
        let stride = u64::from(self.geometry.stride);
        let mut row = vec![0; width as usize * 4];
        let slice = self.map()?.as_volatile_slice();
        for index in 0..height {
            paint(index, &mut row);
            let offset = u64::from(y + index) * stride + u64::from(x) * 4;
            let offset = usize::try_from(offset).map_err(|error| error.to_string())?;
            slice
                .write_slice(&row, offset)
                .map_err(|error| format!("cannot write the frame buffer: {error}"))?;
        }
        Ok(())
    }

    /// Whether this can be drawn: 32 bits a pixel, and the rectangle on the screen.
    fn check_inside(&self, (x, y): (u32, u32), (width, height): (u32, u32)) -> Result<(), String> {
        let screen = &self.geometry;
        if screen.bits_per_pixel != 32 {
            return Err(format!(
                "can draw with 32 bits a pixel, the frame buffer has {}",
                screen.bits_per_pixel
            ));
        }
        let inside =
            |start: u32, length: u32, limit| start.checked_add(length).is_some_and(|end| end <= limit);
        if !inside(x, width, screen.width) || !inside(y, height, screen.height) {
            return Err(format!(
                "{width} x {height} pixels at ({x}, {y}) are not inside the screen of {} x {}",
                screen.width, screen.height
            ));
        }
        Ok(())
    }

    fn map(&mut self) -> Result<&MmapRegion, String> {
        if self.map.is_none() {
            let cannot_map = |error: String| format!("cannot map {DEVICE}: {error}");
            let bytes = self.geometry.stride as usize * self.geometry.height as usize;
            let device = self.device.try_clone().map_err(|error| cannot_map(error.to_string()))?;
            let map = MmapRegion::from_file(FileOffset::new(device, 0), bytes.next_multiple_of(PAGE_BYTES));
            self.map = Some(map.map_err(|error| cannot_map(error.to_string()))?);
        }
        self.map.as_ref().ok_or_else(|| "no mapping".to_owned())
    }
}

fn read_geometry() -> io::Result<Driver> {
    let read =
        |name: &str| Ok::<_, io::Error>(fs::read_to_string(format!("{SYSFS}/{name}"))?.trim().to_owned());
    let number = |text: &str| text.parse().map_err(|_| io::Error::other(format!("{text:?} is not a number")));
    let size = read("virtual_size")?;
    let (width, height) = size.split_once(',').ok_or_else(|| io::Error::other(format!("size {size:?}")))?;
    let link = fs::read_link(format!("{SYSFS}/device/driver")).ok();
    let driver = link.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
    let device = device_name();
    Ok(Driver {
        name: read("name")?,
        width: number(width)?,
        height: number(height)?,
        bits_per_pixel: number(&read("bits_per_pixel")?)?,
        stride: number(&read("stride")?)?,
        iomem: iomem(device.as_deref(), driver.as_deref()),
        driver,
    })
}

/// Lines of `/proc/iomem` that carry the name of the device or of its driver.
fn iomem(device: Option<&str>, driver: Option<&str>) -> Vec<String> {
    let text = fs::read_to_string("/proc/iomem").unwrap_or_default();
    let names: Vec<&str> = device.into_iter().chain(driver).collect();
    let belongs = |line: &&str| names.iter().any(|name| line.contains(name));
    text.lines().filter(belongs).map(|line| line.trim().to_owned()).collect()
}
