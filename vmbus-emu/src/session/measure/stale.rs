//! Whether the host's picture is what the guest says that it drew.

use device_model::Picture;
use guest_agent::protocol::{Command, DrawnTiles, Event};
use guest_agent::tiles;
use meter::measurement::StaleTiles;

use crate::session::agent::AgentSilence;
use crate::session::scenario::{Stage, Stop};

/// Edge of a tile.
const TILE_PX: u32 = 16;
/// Places of differing tiles that are kept.
const FIRST: usize = 16;

impl Stage<'_, '_> {
    /// Compares `picture` with what the guest drew; `None` if the guest cannot say what that is.
    pub(super) fn stale_tiles(&mut self, picture: Option<&Picture>) -> Result<Option<StaleTiles>, Stop> {
        let Some(picture) = picture else { return Ok(None) };
        let ours = tiles::hashes(picture.width, picture.height, TILE_PX, &picture.pixels);
        let columns = tiles::count(picture.width, TILE_PX);
        let mut comparison = Comparison { ours, columns, at: 0, stale: StaleTiles::default(), fits: true };
        let Self { agent, vm, until, .. } = self;
        let asked = Command::DrawnTiles { tile_px: TILE_PX };
        let answer = agent.ask_and_hear(asked, *until, &mut || vm.look(), &mut |event| {
            if let Event::DrawnTiles(drawn) = event {
                comparison.take(&drawn);
            }
        });
        match answer {
            Ok(_) => Ok(comparison.result()),
            Err(AgentSilence::Refused(reason)) => {
                tracing::info!("the guest cannot say what it drew: {reason}");
                Ok(None)
            }
            Err(silence) => Err(silence.into()),
        }
    }
}

/// The host's tiles, and how far the guest's have come.
struct Comparison {
    ours: Vec<u64>,
    columns: u32,
    at: usize,
    stale: StaleTiles,
    /// The guest speaks of a picture of the same shape.
    fits: bool,
}

impl Comparison {
    fn take(&mut self, drawn: &DrawnTiles) {
        let expected_at = u64::from(drawn.first_row) * u64::from(self.columns);
        self.fits &=
            drawn.columns == self.columns && drawn.tile_px == TILE_PX && expected_at == self.at as u64;
        if !self.fits {
            return;
        }
        for theirs in &drawn.hashes {
            let Some(ours) = self.ours.get(self.at) else {
                self.fits = false;
                return;
            };
            if ours != theirs {
                self.stale.differing += 1;
                if self.stale.first.len() < FIRST {
                    self.stale.first.push(place(self.at, self.columns));
                }
            }
            self.at += 1;
        }
    }

    /// `None` for a guest that spoke of another picture, or not of all of it.
    fn result(self) -> Option<StaleTiles> {
        let whole = self.fits && self.at == self.ours.len() && self.at > 0;
        whole.then_some(StaleTiles { tile_px: TILE_PX, compared: self.at as u64, ..self.stale })
    }
}

/// Column and row of tile number `at`.
fn place(at: usize, columns: u32) -> (u32, u32) {
    let (at, columns) = (u32::try_from(at).unwrap_or(u32::MAX), columns.max(1));
    (at % columns, at / columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        Comparison {
            ours: vec![1, 2, 3, 4, 5, 6],
            columns: 3,
            at: 0,
            stale: StaleTiles::default(),
            fits: true,
        }
    }

    fn rows(first_row: u32, hashes: &[u64]) -> DrawnTiles {
        DrawnTiles { tile_px: TILE_PX, columns: 3, first_row, hashes: hashes.to_vec() }
    }

    #[test]
    fn tile_that_differs_is_counted_with_its_place() {
        let mut comparison = comparison();
        comparison.take(&rows(0, &[1, 2, 3]));
        comparison.take(&rows(1, &[4, 0, 6]));
        let stale = comparison.result().unwrap();
        assert_eq!((stale.compared, stale.differing, stale.first), (6, 1, vec![(1, 1)]));
    }

    #[test]
    fn picture_that_is_not_whole_or_of_another_shape_is_not_judged() {
        let mut part = comparison();
        part.take(&rows(0, &[1, 2, 3]));
        assert_eq!(part.result(), None);
        let mut more = comparison();
        more.take(&rows(0, &[1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(more.result(), None);
        let mut gap = comparison();
        gap.take(&rows(1, &[4, 5, 6]));
        assert_eq!(gap.result(), None);
        let mut wide = comparison();
        wide.take(&DrawnTiles { columns: 4, ..rows(0, &[1, 2, 3, 4, 5, 6]) });
        assert_eq!(wide.result(), None);
    }

    #[test]
    fn only_the_first_places_are_kept() {
        let mut comparison = Comparison { ours: vec![0; 900], columns: 30, ..comparison() };
        for row in 0..30 {
            comparison.take(&DrawnTiles { columns: 30, ..rows(row, &[1; 30]) });
        }
        let stale = comparison.result().unwrap();
        assert_eq!((stale.differing, stale.first.len()), (900, FIRST));
    }
}
