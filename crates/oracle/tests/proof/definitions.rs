//! Each definition of `docs/oracle.md` on an example that can be counted by hand.

use oracle::{MissedArea, OracleSettings, Window};
use synthvid::{PixelFormat, Rect, Situation};

use crate::rig::{MS, Rig, screen};

const WHITE: u32 = 0xff_ffff;

fn rig() -> Rig {
    let mut rig = Rig::new(OracleSettings::default(), screen(64, 48));
    rig.oracle.begin(rig.now_ns);
    rig.pass(MS);
    rig
}

/// What was missed, once everybody had time enough.
fn missed(rig: &mut Rig) -> (u64, Vec<MissedArea>) {
    rig.pass(500 * MS);
    let window = rig.finish();
    (window.missed_px, window.missed)
}

fn changes(window: &Window) -> (u64, u64, u64) {
    (window.written_pages, window.changed_px, window.rewritten_px)
}

#[test]
fn declared_change_is_neither_missed_nor_over_declared() {
    let mut rig = rig();
    rig.draw_rect(Rect::new(3, 4, 13, 8), WHITE);
    rig.pass(48 * MS);
    rig.declare(&[Rect::new(3, 4, 13, 8)]);
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!(changes(&window), (1, 40, 16 * 64 - 40), "a page holds 16 rows of 64 pixels");
    assert_eq!((window.declared_px, window.over_declared_px), (40, 0));
    assert_eq!((window.missed_px, window.late_px, window.undecided_px), (0, 0, 0));
    // Seen by the sample at 10 ms, at the latest.
    assert_eq!(window.write_to_dirt.count, 40);
    assert!(window.write_to_dirt.max_us.is_some_and(|us| (38_000.0..=48_000.0).contains(&us)));
}

#[test]
fn omitted_last_row_is_missed_with_its_place_and_time() {
    let mut rig = rig();
    rig.pass(5 * MS);
    rig.draw_rect(Rect::new(10, 20, 30, 26), WHITE);
    rig.oracle.sample(rig.now_ns);
    let seen_ns = rig.now_ns;
    rig.declare(&[Rect::new(10, 20, 30, 25)]);
    let bounds = Rect::new(10, 25, 30, 26);
    assert_eq!(missed(&mut rig), (20, vec![MissedArea { seen_ns, bounds, px: 20 }]));
}

#[test]
fn rectangle_one_pixel_too_narrow_misses_a_column() {
    let mut rig = rig();
    rig.draw_rect(Rect::new(10, 20, 30, 26), WHITE);
    rig.declare(&[Rect::new(10, 20, 29, 26)]);
    let (px, areas) = missed(&mut rig);
    assert_eq!((px, areas.len()), (6, 1));
    assert_eq!(areas[0].bounds, Rect::new(29, 20, 30, 26));
}

#[test]
fn change_declared_at_the_end_of_grace_is_in_time_and_later_it_is_missed_and_late() {
    for (delay_ns, expected) in [(100 * MS, (0, 0)), (100 * MS + 1_000, (4, 4))] {
        let mut rig = rig();
        rig.draw_rect(Rect::new(0, 0, 2, 2), WHITE);
        rig.oracle.sample(rig.now_ns);
        rig.now_ns += delay_ns;
        rig.declare(&[Rect::new(0, 0, 2, 2)]);
        let window = rig.finish();
        assert_eq!((window.missed_px, window.late_px), expected, "{delay_ns} ns");
        assert_eq!(window.over_declared_px, 0, "a late declaration is no superfluous one");
        assert_eq!(window.write_to_dirt.count, 4);
    }
}

#[test]
fn missed_change_is_counted_once_however_often_it_is_looked_for() {
    let mut rig = rig();
    rig.draw(5, 5, WHITE);
    rig.pass(1_000 * MS);
    rig.declare(&[Rect::new(5, 5, 6, 6)]);
    rig.pass(1_000 * MS);
    let window = rig.finish();
    assert_eq!((window.changed_px, window.missed_px, window.late_px), (1, 1, 1));
    assert_eq!(window.write_to_dirt.count, 0, "how late it was is not known once it is missed");
}

#[test]
fn pixel_that_is_missed_and_changes_again_can_be_missed_again() {
    let mut rig = rig();
    rig.draw(5, 5, WHITE);
    rig.pass(200 * MS);
    rig.draw(5, 5, 1);
    assert_eq!(missed(&mut rig).0, 2);
}

#[test]
fn change_of_a_pending_pixel_keeps_the_time_of_the_first() {
    let mut rig = rig();
    rig.draw(5, 5, WHITE);
    rig.pass(60 * MS);
    rig.draw(5, 5, 1);
    rig.pass(60 * MS);
    let window = rig.finish();
    assert_eq!((window.changed_px, window.missed_px), (2, 1));
}

#[test]
fn same_values_again_are_rewritten_and_nothing_is_missed() {
    let mut rig = rig();
    rig.draw_rect(Rect::new(0, 0, 64, 48), 0);
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!(changes(&window), (3, 0, 64 * 48));
    assert_eq!(window.missed_px, 0);
}

#[test]
fn byte_without_meaning_is_no_change() {
    let mut rig = rig();
    rig.draw(1, 1, 0xff00_0000);
    assert_eq!(missed(&mut rig).0, 0);
}

#[test]
fn declaration_of_an_unchanged_screen_is_over_declared_whole() {
    let mut rig = rig();
    rig.draw(0, 0, WHITE);
    let everything = Rect::new(0, 0, 64, 48);
    rig.declare(&[everything, everything, Rect::new(0, 0, 1, 1)]);
    let window = rig.finish();
    assert_eq!(window.declared_px, 2 * 64 * 48 + 1);
    assert_eq!((window.declared_union_px, window.over_declared_px), (64 * 48, 64 * 48 - 1));
    let heat = window.heat.expect("a screen");
    assert_eq!((heat.columns, heat.rows, heat.declared.iter().sum::<u64>()), (4, 3, 64 * 48));
    assert_eq!((heat.changed[0], heat.changed[1..].iter().sum::<u64>()), (1, 0));
}

#[test]
fn change_while_dirt_is_not_wanted_is_excused() {
    let mut rig = rig();
    rig.want_dirt(false);
    rig.draw_rect(Rect::new(0, 0, 3, 1), WHITE);
    rig.pass(500 * MS);
    rig.want_dirt(true);
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!((window.changed_px, window.excused_px, window.missed_px), (3, 3, 0));
}

#[test]
fn change_that_was_seen_before_dirt_became_unwanted_is_excused_and_one_after_it_became_wanted_is_not() {
    let mut rig = rig();
    rig.draw(1, 0, WHITE);
    rig.want_dirt(false);
    rig.pass(500 * MS);
    rig.draw(2, 0, WHITE);
    rig.want_dirt(true);
    rig.draw(3, 0, WHITE);
    let (px, areas) = missed(&mut rig);
    assert_eq!((px, areas[0].bounds), (1, Rect::new(3, 0, 4, 1)));
}

#[test]
fn implied_repaint_covers_and_nothing_is_missed_while_one_is_awaited() {
    let mut rig = rig();
    rig.await_repaint();
    rig.draw_rect(Rect::new(0, 0, 64, 48), WHITE);
    rig.pass(150 * MS);
    rig.repaint(true);
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!((window.changed_px, window.missed_px), (64 * 48, 0));
    assert_eq!((window.implied_px, window.declared_px), (64 * 48, 0));
    assert_eq!(window.write_to_dirt.count, 0);
}

#[test]
fn repaint_that_fails_leaves_changes_to_be_judged() {
    let mut rig = rig();
    rig.await_repaint();
    rig.draw(0, 0, WHITE);
    rig.pass(150 * MS);
    rig.repaint(false);
    assert_eq!(missed(&mut rig).0, 1);
}

#[test]
fn change_of_mode_starts_over_with_the_pixels_that_are_there() {
    let mut rig = rig();
    rig.draw_rect(Rect::new(0, 0, 64, 1), WHITE);
    rig.show(screen(32, 96));
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!((window.changed_px, window.missed_px, window.excused_px), (64, 0, 64));
    rig.draw(31, 95, 5);
    assert_eq!(missed(&mut rig).1[0].bounds, Rect::new(31, 95, 32, 96));
}

#[test]
fn overdue_change_is_missed_even_if_the_mode_changes_before_the_next_sample() {
    let mut rig = rig();
    rig.draw(0, 0, WHITE);
    rig.oracle.sample(rig.now_ns);
    rig.now_ns += 101 * MS;
    rig.show(screen(32, 96));
    assert_eq!(rig.finish().missed_px, 1);
}

#[test]
fn moved_vram_is_followed() {
    let mut rig = rig();
    rig.move_vram();
    assert_eq!(rig.oracle.counts().excused_px, 0);
    rig.pass(50 * MS);
    rig.show(screen(64, 48));
    rig.draw(7, 7, WHITE);
    assert_eq!(missed(&mut rig).0, 1);
}

#[test]
fn pixel_across_two_pages_is_seen_whichever_was_written() {
    let odd = Situation { vram_offset: 4094, ..screen(16, 4) };
    let mut rig = Rig::new(OracleSettings::default(), odd);
    rig.oracle.begin(rig.now_ns);
    // Pixel (0, 0) has two bytes on page 0 and two on page 1; red is the third.
    rig.vram.0.lock().unwrap().write(4096, &[0x77]);
    rig.oracle.sample(rig.now_ns);
    rig.vram.0.lock().unwrap().write(4094, &[0x55]);
    rig.oracle.sample(rig.now_ns);
    let window = rig.finish();
    assert_eq!(changes(&window), (2, 2, 16 * 4 - 1), "64 pixels touch page 1, one touches page 0");
    assert_eq!(missed(&mut rig).0, 0, "both changes were seen before this window");
}

#[test]
fn padding_and_the_rest_of_vram_are_written_and_never_changed() {
    let padded = Situation { pitch_bytes: 8192, ..screen(64, 2) };
    let mut rig = Rig::new(OracleSettings::default(), padded);
    rig.oracle.begin(rig.now_ns);
    for offset in [256, 4096, 8192 + 4096, 5 * 8192] {
        rig.vram.0.lock().unwrap().write(offset, &[1, 2, 3, 4]);
    }
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!(changes(&window), (4, 0, 64));
    assert_eq!((window.off_screen_pages, window.missed_px), (3, 0));
}

#[test]
fn sixteen_bits_a_pixel_are_compared_as_two_bytes() {
    let format = PixelFormat::Rgb565;
    let mut rig =
        Rig::new(OracleSettings::default(), Situation { format, pitch_bytes: 128, ..screen(64, 48) });
    rig.oracle.begin(rig.now_ns);
    rig.draw(9, 3, 0xf800);
    let (px, areas) = missed(&mut rig);
    assert_eq!((px, areas[0].bounds), (1, Rect::new(9, 3, 10, 4)));
}

#[test]
fn screen_that_is_off_owes_nothing() {
    let mut rig = rig();
    let offset = rig.situation().vram_offset_of(0, 0).unwrap();
    rig.show(Situation { active: false, width: 0, height: 0, pitch_bytes: 0, ..screen(1, 1) });
    rig.vram.0.lock().unwrap().write(offset, &[1, 2, 3, 4]);
    rig.pass(500 * MS);
    assert_eq!(rig.finish().changed_px, 0);
}

#[test]
fn log_that_fails_costs_the_pages_and_no_change() {
    let mut rig = rig();
    rig.vram.0.lock().unwrap().broken = Some("the slot is gone");
    rig.draw_rect(Rect::new(0, 0, 2, 1), WHITE);
    rig.pass(500 * MS);
    let window = rig.finish();
    assert_eq!(changes(&window), (0, 2, 0));
    assert_eq!(window.missed_px, 2);
    assert!(window.log_error.is_some_and(|error| error.ends_with("the slot is gone")));
}

#[test]
fn what_the_guest_wrote_before_a_window_is_not_in_it() {
    let mut rig = rig();
    rig.draw(1, 1, WHITE);
    rig.oracle.begin(rig.now_ns);
    rig.draw(2, 2, WHITE);
    rig.pass(50 * MS);
    let first = rig.finish();
    assert_eq!((first.changed_px, first.missed_px, first.undecided_px), (1, 0, 1));
    let (px, areas) = missed(&mut rig);
    assert_eq!((px, areas), (0, Vec::new()));
}

#[test]
fn log_of_another_machine_starts_over() {
    let mut rig = rig();
    rig.draw(1, 1, WHITE);
    rig.oracle.sample(rig.now_ns);
    rig.oracle.replace_log(rig.now_ns, Box::new(rig.vram.clone()));
    rig.pass(500 * MS);
    assert_eq!(rig.oracle.counts().excused_px, 1);
    assert!(!rig.scanout.dirt_wanted || rig.oracle.counts().missed_px == 0);
    // The new machine's device counts its mappings from one again.
    rig.scanout.vram = None;
    rig.move_vram();
    rig.show(screen(64, 48));
    rig.draw(4, 4, WHITE);
    assert_eq!(missed(&mut rig).0, 1);
}
