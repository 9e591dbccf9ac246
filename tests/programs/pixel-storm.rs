//! A program for a guest: sets one pixel after the other through write(2) on /dev/fb0, each in another tile of 16 x 16 pixels, as fast
//! as the driver's worker keeps up, and then holds still.
//!
//! A driver that follows write(2) declares each pixel, so that a host that does not look into the ring finds it full of small DIRT.

use std::fs;
use std::io::{Error, Seek, SeekFrom, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

const WRITING: Duration = Duration::from_secs(40);
const WHOLE: Duration = Duration::from_secs(55);
const TILE_PX: u64 = 16;

fn main() -> Result<(), Error> {
    let begun = Instant::now();
    let size = fs::read_to_string("/sys/class/graphics/fb0/virtual_size")?;
    let stride = fs::read_to_string("/sys/class/graphics/fb0/stride")?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(Error::other);
    let (width, height) = size.trim().split_once(',').ok_or_else(|| Error::other("no size"))?;
    let (columns, rows) = (number(width)? / TILE_PX, number(height)? / TILE_PX);
    let stride = number(&stride)?;
    let mut screen = fs::OpenOptions::new().write(true).open("/dev/fb0")?;
    let mut pixels = 0_u64;
    while begun.elapsed() < WRITING {
        let tile = pixels % (columns * rows);
        // Another pixel each time round: what an older DIRT names must not be what a later one would have.
        let (x, y) = (tile % columns * TILE_PX + pixels / (columns * rows) % TILE_PX, tile / columns * TILE_PX);
        screen.seek(SeekFrom::Start(y * stride + x * 4))?;
        // Another colour each time round.
        let colour = 0x0040_4040_u32.wrapping_add(u32::try_from(pixels / (columns * rows)).unwrap_or(0) * 0x0010_2030_u32);
        screen.write_all(&colour.to_le_bytes())?;
        pixels += 1;
        // The driver's worker merges what comes while it waits for a processor.
        sleep(Duration::from_micros(200));
    }
    println!("{pixels} pixels");
    sleep(WHOLE.saturating_sub(begun.elapsed()));
    Ok(())
}
