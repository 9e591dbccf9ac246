//! Drawing through KMS, as a compositor does: a dumb buffer of one's own, atomic commits, damage clips.
//!
//! Whoever opens the card first is its master, and the text console draws into nothing until the card is closed again.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd},
};

use drm::{
    ClientCapability, Device as _,
    buffer::{Buffer as _, DrmFourcc},
    control::{
        AtomicCommitFlags, Device as _, Mode, ResourceHandle, atomic::AtomicModeReq, connector, crtc,
        dumbbuffer::DumbBuffer, framebuffer, plane, property,
    },
};
use guest_agent::pattern::Picture;

const DEVICE: &str = "/dev/dri/card0";
const NO_MODE: &str = "no mode was set through KMS";

/// The driver's card.
#[derive(Debug)]
struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

/// A screen that this program holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Output {
    card: Card,
    connector: connector::Handle,
    crtc: crtc::Handle,
    /// The primary plane, which takes damage clips.
    plane: plane::Handle,
    clips: property::Handle,
    shown: Option<Shown>,
}

/// The buffer on the screen.
#[derive(Debug)]
struct Shown {
    buffer: DumbBuffer,
    framebuffer: framebuffer::Handle,
}

impl Output {
    /// Opens the card and finds what is connected.
    pub(crate) fn open() -> Result<Self, String> {
        let cannot = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("{DEVICE}: cannot {what}: {error}")
        };
        let file = OpenOptions::new().read(true).write(true).open(DEVICE).map_err(cannot("open it"))?;
        let card = Card(file);
        for capability in [ClientCapability::UniversalPlanes, ClientCapability::Atomic] {
            card.set_client_capability(capability, true).map_err(cannot("commit atomically"))?;
        }
        let resources = card.resource_handles().map_err(cannot("list its parts"))?;
        let connected = |handle: &&connector::Handle| {
            let info = card.get_connector(**handle, false);
            info.is_ok_and(|info| info.state() == connector::State::Connected)
        };
        let connector = *resources.connectors().iter().find(connected).ok_or("no connector is connected")?;
        let crtc = *resources.crtcs().first().ok_or("the card has no CRTC")?;
        let planes = card.plane_handles().map_err(cannot("list planes"))?;
        let with_clips =
            planes.into_iter().find_map(|plane| Some((plane, named(&card, plane, "FB_DAMAGE_CLIPS").ok()?)));
        let (plane, clips) = with_clips.ok_or("no plane takes damage clips")?;
        Ok(Self { card, connector, crtc, plane, clips, shown: None })
    }

    /// Sets a mode, and shows `picture` in it from a new buffer.
    pub(crate) fn set_mode(&mut self, width: u32, height: u32, picture: &Picture) -> Result<(), String> {
        let mut shown = self.new_buffer(width, height)?;
        self.paint(&mut shown, (0, 0), (width, height), picture)?;
        self.show(shown, width, height)
    }

    /// Sets a mode with this buffer in it, and lets go of the one before.
    fn show(&mut self, shown: Shown, width: u32, height: u32) -> Result<(), String> {
        let mode = self.mode(width, height)?;
        let mut request = AtomicModeReq::new();
        let card = &self.card;
        let blob = card.create_property_blob(&mode).map_err(|error| format!("mode blob: {error}"))?;
        let crtc = property::Value::CRTC(Some(self.crtc));
        let whole = |length: u32| property::Value::UnsignedRange(u64::from(length) << 16);
        let length = |length: u32| property::Value::UnsignedRange(length.into());
        for (name, value) in [("MODE_ID", blob), ("ACTIVE", property::Value::Boolean(true))] {
            request.add_property(self.crtc, named(card, self.crtc, name)?, value);
        }
        request.add_property(self.connector, named(card, self.connector, "CRTC_ID")?, crtc);
        for (name, value) in [
            ("FB_ID", property::Value::Framebuffer(Some(shown.framebuffer))),
            ("CRTC_ID", property::Value::CRTC(Some(self.crtc))),
            ("SRC_X", whole(0)),
            ("SRC_Y", whole(0)),
            ("SRC_W", whole(width)),
            ("SRC_H", whole(height)),
            ("CRTC_X", property::Value::SignedRange(0)),
            ("CRTC_Y", property::Value::SignedRange(0)),
            ("CRTC_W", length(width)),
            ("CRTC_H", length(height)),
        ] {
            request.add_property(self.plane, named(card, self.plane, name)?, value);
        }
        let committed = card.atomic_commit(AtomicCommitFlags::ALLOW_MODESET, request);
        committed.map_err(|error| format!("the mode {width}x{height} was refused: {error}"))?;
        if let Some(old) = self.shown.replace(shown) {
            self.release(old);
        }
        Ok(())
    }

    /// Draws `picture` into the buffer on the screen, in `columns` x `rows` tiles: each is painted, then committed with one damage
    /// clip around it. Returns how many.
    pub(crate) fn draw_tiles(
        &mut self,
        (columns, rows): (u32, u32),
        picture: impl FnOnce(u32, u32) -> Picture,
    ) -> Result<u32, String> {
        let mut shown = self.shown.take().ok_or(NO_MODE)?;
        let (width, height) = shown.buffer.size();
        let picture = picture(width, height);
        let mut tiles = || {
            let mut count = 0;
            for (top, bottom) in cuts(height, rows) {
                for (left, right) in cuts(width, columns) {
                    self.paint(&mut shown, (left, top), (right - left, bottom - top), &picture)?;
                    self.commit_clips(&shown, &[[left, top, right, bottom]])?;
                    count += 1;
                }
            }
            Ok(count)
        };
        let drawn = tiles();
        self.shown = Some(shown);
        drawn
    }

    /// Sets a mode, and shows a black buffer in it.
    pub(crate) fn set_blank_mode(&mut self, width: u32, height: u32) -> Result<(), String> {
        // A new dumb buffer is all zeros.
        let shown = self.new_buffer(width, height)?;
        self.show(shown, width, height)
    }

    /// Fills a rectangle of the buffer on the screen with one colour; nothing is committed.
    pub(crate) fn fill(
        &mut self,
        (x, y): (u32, u32),
        (width, height): (u32, u32),
        color: u32,
    ) -> Result<(), String> {
        let shown = self.shown.as_mut().ok_or(NO_MODE)?;
        let pitch = shown.buffer.pitch() as usize;
        let mut map = self.card.map_dumb_buffer(&mut shown.buffer).map_err(cannot_map)?;
        for line in y as usize..(y + height) as usize {
            let start = line * pitch + x as usize * 4;
            let target = map.get_mut(start..start + width as usize * 4).ok_or("the buffer is too small")?;
            for pixel in target.chunks_exact_mut(4) {
                pixel.copy_from_slice(&color.to_le_bytes());
            }
        }
        Ok(())
    }

    /// Commits the buffer on the screen again, with these damage clips (left, top, right, bottom); with none, all of it is damaged.
    pub(crate) fn commit(&self, clips: &[[u32; 4]]) -> Result<(), String> {
        self.commit_clips(self.shown.as_ref().ok_or(NO_MODE)?, clips)
    }

    /// Width and height of the buffer on the screen.
    pub(crate) fn size(&self) -> Result<(u32, u32), String> {
        Ok(self.shown.as_ref().ok_or(NO_MODE)?.buffer.size())
    }

    /// Reads `height` whole rows of the buffer on the screen from row `y` on, 0x00RRGGBB a pixel.
    pub(crate) fn read_rows(&mut self, y: u32, height: u32) -> Result<Vec<u32>, String> {
        let shown = self.shown.as_mut().ok_or(NO_MODE)?;
        let (pitch, width) = (shown.buffer.pitch() as usize, shown.buffer.size().0 as usize);
        let map = self.card.map_dumb_buffer(&mut shown.buffer).map_err(cannot_map)?;
        let mut pixels = Vec::with_capacity(width * height as usize);
        for line in y as usize..(y + height) as usize {
            let row = map.get(line * pitch..line * pitch + width * 4).ok_or("the buffer is too small")?;
            pixels.extend(row.as_chunks().0.iter().map(|pixel| u32::from_le_bytes(*pixel) & 0x00ff_ffff));
        }
        Ok(pixels)
    }

    fn commit_clips(&self, shown: &Shown, clips: &[[u32; 4]]) -> Result<(), String> {
        let card = &self.card;
        let refused =
            |error: io::Error| format!("a commit with the damage clips {clips:?} was refused: {error}");
        let mut request = AtomicModeReq::new();
        let buffer = property::Value::Framebuffer(Some(shown.framebuffer));
        request.add_property(self.plane, named(card, self.plane, "FB_ID")?, buffer);
        let mut blob = None;
        if !clips.is_empty() {
            // struct drm_mode_rect has the same four fields, signed; a coordinate of a screen is far below the sign bit.
            let value = card.create_property_blob(clips).map_err(refused)?;
            request.add_property(self.plane, self.clips, value);
            blob = Some(value);
        }
        card.atomic_commit(AtomicCommitFlags::empty(), request).map_err(refused)?;
        if let Some(property::Value::Blob(id)) = blob {
            card.destroy_property_blob(id).map_err(refused)?;
        }
        Ok(())
    }

    fn mode(&self, width: u32, height: u32) -> Result<Mode, String> {
        let info = self.card.get_connector(self.connector, true).map_err(|error| error.to_string())?;
        let is_it = |mode: &&Mode| (u32::from(mode.size().0), u32::from(mode.size().1)) == (width, height);
        info.modes().iter().find(is_it).copied().ok_or_else(|| {
            let sizes = info.modes().iter().map(|mode| format!("{}x{}", mode.size().0, mode.size().1));
            format!("the driver has no mode {width}x{height}, but {}", sizes.collect::<Vec<_>>().join(", "))
        })
    }

    fn new_buffer(&self, width: u32, height: u32) -> Result<Shown, String> {
        let no_buffer = |error: io::Error| format!("no buffer of {width}x{height}: {error}");
        let buffer = self.card.create_dumb_buffer((width, height), DrmFourcc::Xrgb8888, 32);
        let buffer = buffer.map_err(no_buffer)?;
        let framebuffer = self.card.add_framebuffer(&buffer, 24, 32).map_err(no_buffer)?;
        Ok(Shown { buffer, framebuffer })
    }

    /// Writes a rectangle of `picture` to where it belongs in the buffer.
    fn paint(
        &self,
        shown: &mut Shown,
        (x, y): (u32, u32),
        (width, height): (u32, u32),
        picture: &Picture,
    ) -> Result<(), String> {
        let pitch = shown.buffer.pitch() as usize;
        let mut map = self.card.map_dumb_buffer(&mut shown.buffer).map_err(cannot_map)?;
        let mut row = vec![0; (x + width) as usize * 4];
        for line in y..y + height {
            picture.write_row(line, &mut row);
            let start = line as usize * pitch;
            let (from, to) = (x as usize * 4, row.len());
            let target = map.get_mut(start + from..start + to).ok_or("the buffer is too small")?;
            target.copy_from_slice(row.get(from..).unwrap_or_default());
        }
        Ok(())
    }

    /// Frees a buffer that is no longer on the screen; closing the card would do it too.
    fn release(&self, old: Shown) {
        let freed = self.card.destroy_framebuffer(old.framebuffer);
        if let Err(error) = freed.and_then(|()| self.card.destroy_dumb_buffer(old.buffer)) {
            eprintln!("guest-agent: cannot free a dumb buffer: {error}");
        }
    }
}

fn cannot_map(error: io::Error) -> String {
    format!("cannot map a dumb buffer: {error}")
}

/// The property called `name` of one of the card's parts.
fn named(card: &Card, part: impl ResourceHandle, name: &str) -> Result<property::Handle, String> {
    let failed = |error: io::Error| format!("cannot read properties: {error}");
    let values = card.get_properties(part).map_err(failed)?;
    for (handle, _) in values.iter() {
        let info = card.get_property(*handle).map_err(failed)?;
        if info.name().to_bytes() == name.as_bytes() {
            return Ok(*handle);
        }
    }
    Err(format!("there is no property {name}"))
}

/// Cuts a length into `count` pieces, as equal as can be; pieces of no length are left out.
fn cuts(length: u32, count: u32) -> impl Iterator<Item = (u32, u32)> + Clone {
    let edge = move |index: u32| {
        let edge = u64::from(length) * u64::from(index) / u64::from(count.max(1));
        u32::try_from(edge).unwrap_or(length)
    };
    (0..count).map(move |index| (edge(index), edge(index + 1))).filter(|(start, end)| start < end)
}
