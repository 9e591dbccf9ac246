//! A guest's VRAM as plain bytes, its log of written pages, and an oracle that is told what a device would tell it.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use device_model::Observer;
use device_model::observer::{DirtEvent, ImpliedRepaint, RepaintCause};
use device_model::video::{MappedVram, Scanout};
use oracle::{Oracle, OracleSettings, Window, WriteLog, WriteLogError, WrittenPages};
use surface::{VramBytes, VramError};
use synthvid::{PixelFormat, Rect, Situation};

pub(crate) const MS: u64 = 1_000_000;
/// Pages of each VRAM of these tests.
pub(crate) const PAGES: u64 = 16;
pub(crate) const PAGE: u64 = 4096;

/// What the guest wrote.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    /// Pages written since the log was last read.
    pub(crate) written: u64,
    /// Why the log cannot be read.
    pub(crate) broken: Option<&'static str>,
}

impl Memory {
    /// Bytes from `offset` on get these values.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap();
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let last = offset + bytes.len() as u64 - 1;
        (offset / PAGE..=last / PAGE).for_each(|page| self.written |= 1 << page);
    }
}

#[derive(Clone)]
pub(crate) struct Vram(pub(crate) Arc<Mutex<Memory>>);

impl Vram {
    fn new() -> Self {
        let bytes = vec![0; usize::try_from(PAGES * PAGE).unwrap()];
        Self(Arc::new(Mutex::new(Memory { bytes, written: 0, broken: None })))
    }
}

impl VramBytes for Vram {
    fn len(&self) -> u64 {
        PAGES * PAGE
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
        let memory = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&memory.bytes[at..at + buf.len()]);
        Ok(())
    }
}

impl WriteLog for Vram {
    fn restart(&mut self, _vram: Option<Range<u64>>) -> Result<(), WriteLogError> {
        let mut memory = self.0.lock().unwrap();
        memory.written = 0;
        memory.broken.map_or(Ok(()), |reason| Err(WriteLogError::new(reason)))
    }

    fn collect(&mut self, written: &mut WrittenPages) -> Result<(), WriteLogError> {
        let mut memory = self.0.lock().unwrap();
        if let Some(reason) = memory.broken {
            return Err(WriteLogError::new(reason));
        }
        written.insert_words(&[memory.written]);
        memory.written = 0;
        Ok(())
    }
}

/// One device, its guest, and the oracle that watches them.
pub(crate) struct Rig {
    pub(crate) vram: Vram,
    pub(crate) oracle: Oracle,
    pub(crate) scanout: Scanout,
    pub(crate) now_ns: u64,
}

impl Rig {
    /// VRAM is mapped and `situation` declared; dirt is wanted.
    pub(crate) fn new(settings: OracleSettings, situation: Situation) -> Self {
        let vram = Vram::new();
        let oracle = Oracle::new(settings, Box::new(vram.clone()));
        let mut rig = Self { vram, oracle, scanout: Scanout::default(), now_ns: MS };
        rig.move_vram();
        rig.show(situation);
        rig.want_dirt(true);
        rig
    }

    pub(crate) fn situation(&self) -> Situation {
        self.scanout.situation.expect("a screen")
    }

    /// Gives a pixel a value; of 16 bits the lower half counts.
    pub(crate) fn draw(&mut self, x: u32, y: u32, value: u32) {
        let situation = self.situation();
        let offset = situation.vram_offset_of(x, y).expect("on the screen");
        let bytes = usize::try_from(situation.format.bytes()).unwrap();
        self.vram.0.lock().unwrap().write(offset, &value.to_le_bytes()[..bytes]);
    }

    pub(crate) fn draw_rect(&mut self, rect: Rect, value: u32) {
        for y in rect.top.unsigned_abs()..rect.bottom.unsigned_abs() {
            for x in rect.left.unsigned_abs()..rect.right.unsigned_abs() {
                self.draw(x, y, value);
            }
        }
    }

    /// Time passes; the oracle is called when it wants to be, or a little late.
    pub(crate) fn pass(&mut self, ns: u64) {
        let end = self.now_ns + ns;
        while let Some(due) = self.oracle.deadline_ns().filter(|due| *due <= end) {
            self.now_ns = due.max(self.now_ns);
            self.oracle.tick(self.now_ns);
        }
        self.now_ns = end;
    }

    /// The guest sends a DIRT of `rects`, and the device carries it out.
    pub(crate) fn declare(&mut self, rects: &[Rect]) {
        let bounds = self.situation().bounds();
        let accepted: Vec<Rect> = rects.iter().filter_map(|rect| rect.clip(&bounds)).collect();
        self.oracle.take_stock(self.now_ns);
        self.oracle.dirt(&DirtEvent {
            doorbell_ns: self.now_ns,
            done_ns: self.now_ns,
            rects: u32::try_from(rects.len()).unwrap(),
            rejected_rects: u32::try_from(rects.len() - accepted.len()).unwrap(),
            declared_px: accepted.iter().map(Rect::area).sum(),
            changed_px: 0,
            accepted: &accepted,
        });
    }

    pub(crate) fn want_dirt(&mut self, wanted: bool) {
        self.scanout.dirt_wanted = wanted;
        self.oracle.scanout(self.now_ns, &self.scanout);
    }

    /// A repaint without a DIRT is going to come.
    pub(crate) fn await_repaint(&mut self) {
        self.scanout.repaint_due_ns = Some(self.now_ns + 100 * MS);
        self.oracle.scanout(self.now_ns, &self.scanout);
    }

    /// It comes, or it fails to.
    pub(crate) fn repaint(&mut self, comes: bool) {
        self.oracle.take_stock(self.now_ns);
        if comes {
            let px = self.situation().size().area();
            let repaint = ImpliedRepaint { cause: RepaintCause::Situation, px, changed_px: 0 };
            self.oracle.implied_repaint(self.now_ns, &repaint);
        }
        self.scanout.repaint_due_ns = None;
        self.oracle.scanout(self.now_ns, &self.scanout);
    }

    /// The guest gives its screen another shape.
    pub(crate) fn show(&mut self, situation: Situation) {
        self.oracle.take_stock(self.now_ns);
        self.scanout.situation = Some(situation);
        self.oracle.scanout(self.now_ns, &self.scanout);
    }

    /// The guest declares its VRAM, for the first time or anew; then it owes a situation.
    pub(crate) fn move_vram(&mut self) {
        self.oracle.take_stock(self.now_ns);
        let mapping = self.scanout.vram.as_ref().map_or(1, |vram| vram.mapping + 1);
        let bytes = Arc::new(self.vram.clone());
        self.scanout.vram = Some(MappedVram { bytes, gpa: mapping << 20, kind: None, mapping });
        self.scanout.situation = None;
        self.oracle.scanout(self.now_ns, &self.scanout);
    }

    pub(crate) fn finish(&mut self) -> Window {
        self.oracle.finish(self.now_ns)
    }
}

/// A screen of 32 bits a pixel without padding, at the start of VRAM.
pub(crate) fn screen(width: u32, height: u32) -> Situation {
    Situation {
        active: true,
        vram_offset: 0,
        format: PixelFormat::Xrgb8888,
        width,
        height,
        pitch_bytes: width * 4,
    }
}
