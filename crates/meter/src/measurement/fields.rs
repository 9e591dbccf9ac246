//! Every key of a measurement that a report does not have too, with its unit and its meaning: the source of the table in
//! `docs/measurement.md`.

use core::fmt::Write as _;

use super::QUANTITIES;
use crate::budget;
use crate::report::fields::Field;

macro_rules! fields {
    ($($path:literal, $value:literal, $meaning:literal;)*) => {
        /// Every key, in the order of the document. `host`, `guest`, `device`, `checks` and `limits` are a report's.
        pub const FIELDS: &[Field] = &[$(Field { path: $path, value: $value, meaning: $meaning },)*];
    };
}

fields! {
    "schema", "string", "Name and version of this layout, `vmbus-emu.measurement/1`";
    "settings.grace_ms", "ms", "A changed pixel that no DIRT covers within this time is missed";
    "settings.sample_ms", "ms", "Longest time between two looks at KVM's log of written pages; there is one before each DIRT, too";
    "settings.tile_px", "px", "Edge of a tile of the heat maps";
    "settings.seed", "number", "Seed of what the workloads draw, and where";
    "settings.scale_percent", "percent", "How much of each workload was done";
    "settings.oracle", "bool", "Pixels were compared; without it only declared traffic is known";
    "workloads[].name", "string", "Name of the workload; `docs/workloads.md` says what each does";
    "workloads[].not_run", "string or null", "Why it was not run, or not to its end; its counts are then not to be compared";
    "workloads[].duration_ms", "ms", "From its request to the guest's answer, by the host's clock";
    "workloads[].window_ms", "ms", "Over which everything here was counted: the same, and the time until the screen was quiet and the grace time was over";
    "workloads[].operations", "count or null", "Operations that the guest did, by its own account";
    "workloads[].dirt_messages", "count", "DIRT messages carried out";
    "workloads[].dirt_rects", "count", "Rectangles in them, rejected ones included";
    "workloads[].rejected_rects", "count", "Rectangles refused: empty, inverted, or wholly off the screen";
    "workloads[].max_dirt_in_1s", "count", "Most DIRT messages in one second";
    "workloads[].unwanted_dirt", "count", "DIRT messages later than 60 ms after the host said that it wants none";
    "workloads[].signals", "count or null", "Doorbell rings of the video channel";
    "workloads[].ring_full", "count or null", "Times at which the guest's ring was seen too full for another DIRT";
    "workloads[].declared_px", "px", "Pixels declared, after clipping to the screen, overlaps counted each time";
    "workloads[].declared_union_px", "px or null", "The same, overlaps inside of one message left out";
    "workloads[].implied_px", "px", "Pixels that the host copied without a DIRT";
    "workloads[].written_pages", "pages or null", "Pages of 4 KiB that the guest wrote, once for every look at the log that found them written";
    "workloads[].changed_px", "px or null", "Pixels whose colour in VRAM changed from one look to the next";
    "workloads[].rewritten_px", "px or null", "Pixels on written pages whose colour did not change";
    "workloads[].over_declared_px", "px or null", "Declared pixels that had not changed since they were last declared";
    "workloads[].missed_px", "px or null", "Changed pixels that no DIRT and no implied repaint covered within the grace time, while dirt was wanted";
    "workloads[].late_px", "px or null", "Those among them that were covered in the end, too late";
    "workloads[].missed[].at_ms", "ms", "When the change was seen, from the start of the window; the first areas only";
    "workloads[].missed[].x", "px", "Left column of a rectangle around the area";
    "workloads[].missed[].y", "px", "Its top row";
    "workloads[].missed[].width", "px", "Its columns";
    "workloads[].missed[].height", "px", "Its rows";
    "workloads[].missed[].px", "px", "Missed pixels in it";
    "workloads[].stale.tile_px", "px", "Edge of a tile; `stale` is null where the guest cannot say what it drew";
    "workloads[].stale.compared", "count", "Tiles of the host's picture that were compared with what the guest says that it drew";
    "workloads[].stale.differing", "count", "Those that differ";
    "workloads[].stale.first", "list of pairs", "Column and row of the first of them, in tiles";
    "workloads[].interval_ms.p50", "ms or null", "Median time from one DIRT message to the next";
    "workloads[].interval_ms.p99", "ms or null", "99 of 100 such times are not longer";
    "workloads[].interval_ms.max", "ms or null", "Longest such time";
    "workloads[].interval_histogram[].from", "ms", "Times from here on";
    "workloads[].interval_histogram[].to", "ms", "Times below this";
    "workloads[].interval_histogram[].count", "count", "How many";
    "workloads[].latency_us.doorbell_to_surface.p50", "us or null", "Median time from seeing a doorbell to the pixels of its DIRT message in the surface";
    "workloads[].latency_us.doorbell_to_surface.p99", "us or null", "99 of 100 such times are not longer";
    "workloads[].latency_us.doorbell_to_surface.max", "us or null", "Longest such time";
    "workloads[].latency_us.doorbell_to_surface_histogram[].from", "us", "Times from here on";
    "workloads[].latency_us.doorbell_to_surface_histogram[].to", "us", "Times below this";
    "workloads[].latency_us.doorbell_to_surface_histogram[].count", "count", "How many";
    "workloads[].latency_us.write_to_dirt.p50", "us or null", "Median time, pixel by pixel, from the look that found it changed to the DIRT that covers it; the write may be `settings.sample_ms` older";
    "workloads[].latency_us.write_to_dirt.p99", "us or null", "99 of 100 such times are not longer";
    "workloads[].latency_us.write_to_dirt.max", "us or null", "Longest such time";
    "workloads[].latency_us.write_to_dirt_histogram[].from", "us", "Times from here on";
    "workloads[].latency_us.write_to_dirt_histogram[].to", "us", "Times below this";
    "workloads[].latency_us.write_to_dirt_histogram[].count", "count", "How many pixels";
    "workloads[].costs.exits_total", "count or null", "Exits of all virtual processors, those that the kernel handled included";
    "workloads[].costs.exits_user", "count or null", "Exits to the program, the agent's own serial port included";
    "workloads[].costs.exits_by_reason", "object of counts", "Exits by the name of KVM's statistic, and as `user_...` by the program's own count of those that reached it";
    "workloads[].costs.exits_user_per_dirt", "ratio or null", "Exits to the program for each DIRT message";
    "workloads[].costs.host_cpu_us", "us or null", "Processor time of the event thread, the oracle's included";
    "workloads[].costs.host_cpu_us_per_dirt", "us or null", "The same for each DIRT message";
    "workloads[].costs.host_cpu_us_per_mib", "us or null", "The same for each MiB declared";
    "workloads[].costs.oracle_cpu_us", "us or null", "Time that the oracle took on that thread, by the wall clock: on a loaded host more than its processor time";
    "workloads[].costs.vcpu_cpu_us", "us or null", "Processor time of the threads that run the guest, KVM's work for it included";
    "workloads[].costs.guest_cpu_ms", "ms or null", "Processor time in the guest by its own count, in steps of 10 ms, the drawing program's included";
    "workloads[].costs.unwanted_duration_ms", "ms or null", "`duration_ms` of a second pass while the host wanted no DIRT (`--cost`)";
    "workloads[].costs.unwanted_guest_cpu_ms", "ms or null", "`guest_cpu_ms` of that pass";
    "workloads[].unwanted.written_pages", "pages or null", "Pages that the guest wrote in that pass; `unwanted` is null without `--cost`";
    "workloads[].unwanted.changed_px", "px or null", "Pixels whose colour in VRAM changed in that pass";
    "workloads[].unwanted.dirt_when_wanted_again", "count", "DIRT messages after the host said that it wants them again, while the guest drew nothing";
    "workloads[].timeline[].at_ms", "ms", "Start of a slice of time, from the start of the window";
    "workloads[].timeline[].dirt_messages", "count", "DIRT messages in it";
    "workloads[].timeline[].declared_px", "px", "Pixels declared in it";
    "workloads[].timeline[].changed_px", "px", "Pixels changed in it";
    "workloads[].timeline[].missed_px", "px", "Pixels changed in it that were missed";
    "workloads[].heat.tile_px", "px", "Edge of a tile; `heat` is null without an oracle or a screen";
    "workloads[].heat.columns", "count", "Tiles in a row";
    "workloads[].heat.rows", "count", "Rows of tiles";
    "workloads[].heat.declared", "list of px", "Pixels declared, tile by tile, row by row";
    "workloads[].heat.changed", "list of px", "Pixels changed";
    "workloads[].heat.missed", "list of px", "Pixels missed";
    "workloads[].repeats.windows", "count", "Windows of this workload (`--repeat`), all of them held to the budget; the other keys are of the first. `repeats` is null if there was one window";
    "workloads[].repeats.spread_percent", "percent", "Largest spread of DIRT messages, declared pixels and changed pixels";
    "workloads[].repeats.counts[].quantity", "string", "A count that all windows have, by the name that it has in budgets, without `max_`";
    "workloads[].repeats.counts[].values", "list", "Its value in each window, in their order";
    "workloads[].repeats.counts[].min", "number", "Least";
    "workloads[].repeats.counts[].median", "number", "Median";
    "workloads[].repeats.counts[].max", "number", "Most";
    "workloads[].repeats.counts[].spread_percent", "percent", "From the least to the most, in percent of the most; 0 if all are 0";
    "workloads[].oracle_overhead.rounds", "count", "Passes with the oracle, and as many without it (`--oracle-overhead`); `oracle_overhead` is null without them";
    "workloads[].oracle_overhead.vcpu_cpu_us.with", "list of us", "Processor time of the threads that run the guest, KVM's work for it included, in each pass with the oracle";
    "workloads[].oracle_overhead.vcpu_cpu_us.without", "list of us", "The same in each pass without it";
    "workloads[].oracle_overhead.vcpu_cpu_us.ratio", "ratio or null", "Median with it by median without";
    "workloads[].oracle_overhead.vcpu_cpu_us.ratio_min", "ratio or null", "Least ratio of a round";
    "workloads[].oracle_overhead.vcpu_cpu_us.ratio_max", "ratio or null", "Largest ratio of a round";
    "workloads[].oracle_overhead.guest_cpu_ms.with", "list of ms", "Processor time in the guest by its own count, in each pass with the oracle";
    "workloads[].oracle_overhead.guest_cpu_ms.without", "list of ms", "The same in each pass without it";
    "workloads[].oracle_overhead.guest_cpu_ms.ratio", "ratio or null", "Median with it by median without";
    "workloads[].oracle_overhead.guest_cpu_ms.ratio_min", "ratio or null", "Least ratio of a round";
    "workloads[].oracle_overhead.guest_cpu_ms.ratio_max", "ratio or null", "Largest ratio of a round";
    "workloads[].oracle_overhead.duration_ms.with", "list of ms", "From the request to the guest's answer, in each pass with the oracle";
    "workloads[].oracle_overhead.duration_ms.without", "list of ms", "The same in each pass without it";
    "workloads[].oracle_overhead.duration_ms.ratio", "ratio or null", "Median with it by median without";
    "workloads[].oracle_overhead.duration_ms.ratio_min", "ratio or null", "Least ratio of a round";
    "workloads[].oracle_overhead.duration_ms.ratio_max", "ratio or null", "Largest ratio of a round";
    "workloads[].oracle_overhead.host_cpu_us.with", "list of us", "Processor time of the event thread, the oracle's included, in each pass with the oracle";
    "workloads[].oracle_overhead.host_cpu_us.without", "list of us", "The same in each pass without it";
    "workloads[].oracle_overhead.host_cpu_us.ratio", "ratio or null", "Median with it by median without";
    "workloads[].oracle_overhead.host_cpu_us.ratio_min", "ratio or null", "Least ratio of a round";
    "workloads[].oracle_overhead.host_cpu_us.ratio_max", "ratio or null", "Largest ratio of a round";
}

/// The keys as a Markdown table, as `docs/measurement.md` holds it between its first two markers.
#[must_use]
pub fn field_table() -> String {
    let mut table = String::from("| key | value | meaning |\n|---|---|---|\n");
    for Field { path, value, meaning } in FIELDS {
        // Writing to a String does not fail.
        let _ = writeln!(table, "| `{path}` | {value} | {meaning} |");
    }
    table
}

/// The keys of budgets as a Markdown table, as the same document holds it between its other markers.
#[must_use]
pub fn budget_table() -> String {
    let mut table = String::from("| key | oracle | bounds |\n|---|---|---|\n");
    for quantity in &QUANTITIES {
        let oracle = if quantity.needs_oracle { "yes" } else { "no" };
        let _ = writeln!(table, "| `{}` | {oracle} | {} |", budget::key(quantity), quantity.meaning);
    }
    table
}

#[cfg(test)]
mod tests;
