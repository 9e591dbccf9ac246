//! What the guest drew, read back from where it drew it, as hashes of tiles.

use guest_agent::{
    protocol::DrawnTiles,
    tiles::{self, MAX_HASHES, TILE_PX},
};

use crate::{framebuffer::Framebuffer, kms::Output};

/// Hashes the frame buffer, as read(2) gives it back: the driver's own memory, not what it sent.
pub(crate) fn of_screen(
    screen: &Framebuffer,
    tile_px: u32,
    send: impl FnMut(DrawnTiles),
) -> Result<(), String> {
    let size = (screen.geometry().width, screen.geometry().height);
    by_rows(size, tile_px, |top, rows| screen.read_rows(top, rows), send)
}

/// Hashes the buffer that is shown through KMS.
pub(crate) fn of_output(
    output: &mut Output,
    tile_px: u32,
    send: impl FnMut(DrawnTiles),
) -> Result<(), String> {
    let size = output.size()?;
    by_rows(size, tile_px, |top, rows| output.read_rows(top, rows), send)
}

/// Row of tiles after row of tiles, so that no more than one is held, and as many as fit in each event.
fn by_rows(
    (width, height): (u32, u32),
    tile_px: u32,
    mut read: impl FnMut(u32, u32) -> Result<Vec<u32>, String>,
    mut send: impl FnMut(DrawnTiles),
) -> Result<(), String> {
    let columns = tiles::count(width, tile_px);
    if !TILE_PX.contains(&tile_px) || columns as usize > MAX_HASHES {
        return Err(format!(
            "tiles of {tile_px} pixels: a side has {} to {}, and a row {MAX_HASHES} tiles at most",
            TILE_PX.start(),
            TILE_PX.end()
        ));
    }
    let mut event = DrawnTiles { tile_px, columns, first_row: 0, hashes: Vec::new() };
    for row in 0..tiles::count(height, tile_px) {
        let top = row * tile_px;
        let rows = tile_px.min(height - top);
        let pixels = read(top, rows)?;
        if event.hashes.len() + columns as usize > MAX_HASHES {
            let next = DrawnTiles { tile_px, columns, first_row: row, hashes: Vec::new() };
            send(std::mem::replace(&mut event, next));
        }
        event.hashes.extend(tiles::hashes(width, rows, tile_px, &pixels));
    }
    send(event);
    Ok(())
}
