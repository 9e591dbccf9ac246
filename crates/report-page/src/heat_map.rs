//! Traffic over the screen: one map each of pixels declared, changed and missed, in the shape of the screen.

use core::fmt::Write as _;

use meter::measurement::{Heat, MissedArea, WorkloadResult};

use crate::number::{count, percent, short, significant};

/// Most tiles that are drawn in one map; beyond, squares of tiles are added up.
const TILES_MAX: u64 = 12_288;
/// Steps of a ramp; zero is none of them.
const CLASSES: usize = 7;
/// Most missed areas that get an outline.
const OUTLINES_MAX: usize = 32;
/// Most tiles in the table beside a map.
const ROWS_MAX: usize = 10;
/// Largest edge of a screen, in pixels.
const EDGE_MAX: u32 = 16_384;

/// The shape of the screen as `device.mode` spells it, "1024x768".
pub(crate) fn screen(mode: Option<&str>) -> Option<(u32, u32)> {
    let (width, height) = mode?.split_once('x')?;
    let edge = |text: &str| text.parse().ok().filter(|edge| (1..=EDGE_MAX).contains(edge));
    Some((edge(width)?, edge(height)?))
}

/// One list of a [`Heat`], maybe coarser.
#[derive(Debug)]
struct Tiles {
    columns: u64,
    rows: u64,
    tile_px: u64,
    values: Vec<u64>,
    /// Edge of the squares of tiles that are added up.
    grouped: u64,
}

impl Tiles {
    fn of(heat: &Heat, values: &[u64]) -> Result<Self, String> {
        let (columns, rows) = (u64::from(heat.columns), u64::from(heat.rows));
        let want = columns * rows;
        if want == 0 || heat.tile_px == 0 || values.len() as u64 != want {
            return Err(format!(
                "{columns} by {rows} tiles of {} px, but {} values",
                heat.tile_px,
                values.len()
            ));
        }
        let mut grouped = 1;
        while columns.div_ceil(grouped) * rows.div_ceil(grouped) > TILES_MAX {
            grouped += 1;
        }
        let coarse_columns = columns.div_ceil(grouped);
        let coarse_rows = rows.div_ceil(grouped);
        let mut coarse = vec![0_u64; usize::try_from(coarse_columns * coarse_rows).unwrap_or(0)];
        for (at, value) in (0_u64..).zip(values) {
            let cell = at / columns / grouped * coarse_columns + at % columns / grouped;
            if let Some(cell) = usize::try_from(cell).ok().and_then(|cell| coarse.get_mut(cell)) {
                *cell = cell.saturating_add(*value);
            }
        }
        let tile_px = u64::from(heat.tile_px) * grouped;
        Ok(Self { columns: coarse_columns, rows: coarse_rows, tile_px, values: coarse, grouped })
    }

    fn filled(&self) -> impl Iterator<Item = u64> + '_ {
        self.values.iter().copied().filter(|value| *value > 0)
    }
}

/// Where one class of a ramp ends and the next begins: equal ratios from the smallest value to the largest.
#[derive(Debug)]
struct Ramp {
    /// Smallest value of each class.
    from: Vec<u64>,
    largest: u64,
}

impl Ramp {
    fn over(values: impl Iterator<Item = u64>) -> Option<Self> {
        let ends = values.fold(None, |ends: Option<(u64, u64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let (smallest, largest) = ends.filter(|(smallest, _)| *smallest > 0)?;
        let ratio = (largest as f64 / smallest as f64).max(1.0);
        let mut from = vec![smallest];
        for class in 1..CLASSES {
            let bound = smallest as f64 * ratio.powf(class as f64 / CLASSES as f64);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between two u64, above zero; a cast saturates"
            )]
            from.push((bound.ceil() as u64).clamp(smallest, largest));
        }
        Some(Self { from, largest })
    }

    /// 1 to [`CLASSES`]; 0 is for zero alone.
    fn class(&self, value: u64) -> usize {
        if value == 0 { 0 } else { self.from.iter().filter(|from| **from <= value).count().max(1) }
    }
}

/// The three maps.
pub(crate) fn figures(id: &str, workload: &WorkloadResult, screen: Option<(u32, u32)>) -> String {
    let Some(heat) = &workload.heat else {
        return r#"<p class="empty">Traffic over the screen was not measured.</p>"#.to_owned();
    };
    let compared = workload.changed_px.is_some();
    let declared = Tiles::of(heat, &heat.declared);
    let changed = Tiles::of(heat, &heat.changed);
    // One scale for both, as the two are there to be compared.
    let both = [&declared, &changed];
    let shared = Ramp::over(both.iter().filter_map(|tiles| tiles.as_ref().ok()).flat_map(Tiles::filled));
    let mut out = String::from(r#"<div class="maps">"#);
    let map = Map { id, title: "Declared", class: "heat", ramp: shared.as_ref(), screen, missed: &[] };
    map.figure(&mut out, declared.as_ref());
    if compared {
        Map { title: "Changed", ..map }.figure(&mut out, changed.as_ref());
        let missed = Tiles::of(heat, &heat.missed);
        let ramp = missed.as_ref().ok().and_then(|tiles| Ramp::over(tiles.filled()));
        let map =
            Map { title: "Missed", class: "miss", ramp: ramp.as_ref(), missed: &workload.missed, ..map };
        map.figure(&mut out, missed.as_ref());
    } else {
        for title in ["Changed", "Missed"] {
            let _ = write!(
                out,
                r#"<figure class="map"><h4>{title}</h4><p class="empty">not measured: pixels were not compared</p></figure>"#
            );
        }
    }
    out.push_str("</div>");
    out
}

#[derive(Clone, Copy, Debug)]
struct Map<'a> {
    id: &'a str,
    title: &'a str,
    /// Which ramp of colours.
    class: &'a str,
    ramp: Option<&'a Ramp>,
    screen: Option<(u32, u32)>,
    missed: &'a [MissedArea],
}

impl Map<'_> {
    fn figure(&self, out: &mut String, tiles: Result<&Tiles, &String>) {
        let _ = write!(out, r#"<figure class="map"><h4>{} pixels per tile</h4>"#, self.title);
        match tiles {
            Ok(tiles) => {
                self.picture(out, tiles);
                self.legend(out);
                let _ = write!(out, "<figcaption>{}</figcaption>", self.told(tiles));
                self.table(out, tiles);
            }
            Err(why) => {
                let _ = write!(out, r#"<p class="empty">not drawn: {why}</p>"#);
            }
        }
        out.push_str("</figure>");
    }

    fn told(&self, tiles: &Tiles) -> String {
        let total = tiles.filled().fold(0, u64::saturating_add);
        let touched = tiles.filled().count() as u64;
        let all = tiles.columns * tiles.rows;
        let mut told = format!(
            "{} px in {} of {} tiles ({} %) of {edge} by {edge} px.",
            count(total),
            count(touched),
            count(all),
            percent(touched, all).map_or_else(String::new, significant),
            edge = tiles.tile_px,
        );
        if tiles.grouped > 1 {
            let _ = write!(told, " Thinned: {0} by {0} tiles are added up in each.", tiles.grouped);
        }
        told
    }

    fn picture(&self, out: &mut String, tiles: &Tiles) {
        let of_tiles = (tiles.columns * tiles.tile_px, tiles.rows * tiles.tile_px);
        let (width, height) = self.screen.map_or(of_tiles, |(width, height)| (width.into(), height.into()));
        let _ = write!(
            out,
            r#"<svg class="plot screen {class}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-{class}{title}-t {id}-{class}{title}-d"><title id="{id}-{class}{title}-t">{title} pixels over the screen</title><desc id="{id}-{class}{title}-d">{told}</desc><rect class="c0" width="{width}" height="{height}"/>"#,
            id = self.id,
            class = self.class,
            title = self.title,
            told = self.told(tiles),
        );
        for class in 1..=CLASSES {
            let path = self.ramp.map(|ramp| runs(tiles, ramp, class)).unwrap_or_default();
            if !path.is_empty() {
                let _ = write!(out, r#"<path class="c{class}" d="{path}"/>"#);
            }
        }
        for area in self.missed.iter().take(OUTLINES_MAX) {
            let _ = write!(
                out,
                r#"<rect class="outline" x="{}" y="{}" width="{}" height="{}"><title>{} px missed at {} ms</title></rect>"#,
                area.x,
                area.y,
                area.width,
                area.height,
                count(area.px),
                significant(area.at_ms)
            );
        }
        out.push_str("</svg>");
    }

    fn legend(&self, out: &mut String) {
        let _ =
            write!(out, r#"<div class="legend {}" aria-hidden="true"><span class="c0"></span>"#, self.class);
        let Some(ramp) = self.ramp else {
            out.push_str("<i>0 px everywhere</i></div>");
            return;
        };
        let mut seen = 0;
        let classes = (1..=CLASSES).zip(&ramp.from).filter(|(_, from)| {
            let new = **from > seen;
            seen = **from;
            new
        });
        // A class that begins where the one before begins is empty; `class` gives its values to the last of them.
        let classes: Vec<_> = classes.map(|(_, from)| (ramp.class(*from), *from)).collect();
        for (class, _) in &classes {
            let _ = write!(out, r#"<span class="c{class}"></span>"#);
        }
        out.push_str("<i>0</i>");
        for (_, from) in &classes {
            let _ = write!(out, "<i>{}</i>", short(*from as f64));
        }
        let _ = write!(
            out,
            r#"</div><p class="legend-note">px per tile; each step begins at its number, the largest is {}</p>"#,
            count(ramp.largest)
        );
    }

    fn table(&self, out: &mut String, tiles: &Tiles) {
        let mut most: Vec<_> = (0_u64..).zip(&tiles.values).filter(|(_, value)| **value > 0).collect();
        most.sort_by_key(|(at, value)| (core::cmp::Reverse(**value), *at));
        if most.is_empty() {
            return;
        }
        let _ = write!(
            out,
            r#"<details><summary>Busiest tiles as a table</summary><table class="data"><caption>Tiles with the most pixels, first {ROWS_MAX}</caption><thead><tr><th scope="col">x (px)</th><th scope="col">y (px)</th><th scope="col">pixels</th></tr></thead><tbody>"#
        );
        for (at, value) in most.into_iter().take(ROWS_MAX) {
            let (column, row) = (at % tiles.columns, at / tiles.columns);
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                column * tiles.tile_px,
                row * tiles.tile_px,
                count(*value)
            );
        }
        out.push_str("</tbody></table></details>");
    }
}

/// The tiles of one class as a path; neighbours in a row are one rectangle.
fn runs(tiles: &Tiles, ramp: &Ramp, class: usize) -> String {
    let mut path = String::new();
    let columns = usize::try_from(tiles.columns).unwrap_or(usize::MAX).max(1);
    let edge = tiles.tile_px;
    for (row, values) in (0_u64..).zip(tiles.values.chunks(columns)) {
        let mut column = 0_u64;
        for run in values.chunk_by(|one, next| (ramp.class(*one) == class) == (ramp.class(*next) == class)) {
            let long = run.len() as u64;
            if run.first().is_some_and(|value| ramp.class(*value) == class) {
                let _ = write!(
                    path,
                    "M{} {}h{}v{edge}h-{}z",
                    column * edge,
                    row * edge,
                    long * edge,
                    long * edge
                );
            }
            column += long;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(heat: Heat) -> WorkloadResult {
        WorkloadResult { heat: Some(heat), changed_px: Some(1), ..WorkloadResult::default() }
    }

    fn heat(columns: u32, rows: u32, value: u64) -> Heat {
        let values = vec![value; usize::try_from(columns * rows).expect("small")];
        let zero = vec![0; values.len()];
        Heat { tile_px: 16, columns, rows, declared: values.clone(), changed: values, missed: zero }
    }

    #[test]
    fn screen_is_read_from_its_mode() {
        assert_eq!(screen(Some("1024x768")), Some((1024, 768)));
        for odd in ["", "x", "0x5", "5x0", "1e9x1", "99999x1", "-1x2", "1024x768x2"] {
            assert_eq!(screen(Some(odd)), None, "{odd}");
        }
    }

    #[test]
    fn zero_is_a_class_of_its_own_and_the_largest_is_the_last() {
        let ramp = Ramp::over([5, 1, 1_000].into_iter()).expect("values");
        assert_eq!(ramp.class(0), 0);
        assert_eq!(ramp.class(1), 1);
        assert_eq!(ramp.class(1_000), CLASSES);
        assert!((2..CLASSES).contains(&ramp.class(50)));
        assert!(Ramp::over([0; 0].into_iter()).is_none());
    }

    #[test]
    fn equal_values_are_one_class_and_the_legend_names_it_once() {
        let shown = figures("w", &workload(heat(4, 3, 256)), None);
        assert!(
            shown.contains(r#"<path class="c7" d="M0 0h64v16h-64zM0 16h64v16h-64zM0 32h64v16h-64z"/>"#),
            "{shown}"
        );
        assert_eq!(shown.matches("<i>256</i>").count(), 2, "declared and changed");
        assert!(shown.contains("<i>0 px everywhere</i>"), "missed");
    }

    #[test]
    fn lists_of_another_length_are_refused_and_told() {
        let broken = Heat { columns: 5, ..heat(4, 3, 1) };
        let shown = figures("w", &workload(broken), None);
        assert!(shown.contains("not drawn: 5 by 3 tiles of 16 px, but 12 values"), "{shown}");
        let endless = Heat { columns: u32::MAX, rows: u32::MAX, ..heat(4, 3, 1) };
        assert!(figures("w", &workload(endless), None).contains("not drawn"));
    }

    #[test]
    fn large_map_is_thinned_without_losing_a_pixel() {
        let tiles = Tiles::of(&heat(500, 301, 1), &vec![1; 500 * 301]).expect("sound");
        assert!(tiles.columns * tiles.rows <= TILES_MAX);
        assert_eq!(tiles.values.iter().sum::<u64>(), 500 * 301);
        assert_eq!(tiles.tile_px, 16 * tiles.grouped);
    }

    #[test]
    fn extreme_counts_make_a_ramp() {
        let ramp = Ramp::over([1, u64::MAX].into_iter()).expect("values");
        assert_eq!(ramp.class(u64::MAX), CLASSES);
        assert_eq!(ramp.class(1), 1);
    }
}
