//! A made-up measurement with everything that a page can show. No guest ever did this.

use std::collections::BTreeMap;

use meter::measurement::{
    Bucket, Costs, Heat, Latencies, Measurement, MissedArea, SCHEMA, Settings, Spread, StaleTiles,
    TimelinePoint, WorkloadResult,
};
use meter::report::{Check, Device, FirmwareFramebuffer, Guest, Host, Kvm, LabClock, Synic, VramReport};

const COLUMNS: u32 = 64;
const ROWS: u32 = 48;
const TILE_PX: u32 = 16;

/// What a guest may call its kernel if it means harm.
pub(crate) const HOSTILE_KERNEL: &str = "synthetic-6.1 <script>console.error('taken over')</script>";

/// Rich workloads, one that was not run, and one that counted nothing; two failed checks.
pub(crate) fn rich() -> Measurement {
    Measurement {
        schema: SCHEMA.to_owned(),
        host: Host {
            kvm: Kvm::Lab,
            lab_clock: Some(LabClock::Host),
            synic: Synic::Kernel,
            version: "0.1.0".to_owned(),
            kernel: Some("6.1.0-synthetic".to_owned()),
            vcpus: Some(2),
            ram_bytes: Some(512 << 20),
            duration_ms: Some(84_210),
            vmm_memory_kib: None,
        },
        guest: Guest {
            kernel: Some(HOSTILE_KERNEL.to_owned()),
            driver: Some("hyperv_fb".to_owned()),
            package: Some("linux-image-synthetic-cloud-amd64".to_owned()),
            version: Some("6.1.0-1".to_owned()),
            sha256: Some("0123456789abcdef".repeat(4)),
            ..Guest::default()
        },
        device: Device {
            vmbus_version: Some("5.3".to_owned()),
            synthvid_version: Some("3.5".to_owned()),
            generation: 1,
            mode: Some("1024x768".to_owned()),
            pitch_bytes: Some(4096),
            depth_bits: Some(32),
            vram: VramReport {
                kind: Some("mmio".to_owned()),
                gpa: Some("0xf8000000".to_owned()),
                bytes: Some(8 << 20),
                refused: 0,
            },
            firmware_framebuffer: FirmwareFramebuffer::default(),
            situation_changes: 1,
        },
        settings: Settings {
            grace_ms: 100,
            sample_ms: 25,
            tile_px: TILE_PX,
            seed: 7,
            scale_percent: 100,
            oracle: true,
        },
        workloads: vec![
            workload("idle", 10, |t| if t % 2 == 0 { 1 } else { 0 }, cursor, 0),
            workload(
                "console-scroll",
                12,
                |t| 2 - u64::from(t % 9 == 4),
                |_, row| 24 * u64::from(row) + 60,
                0,
            ),
            workload("moving-window", 20, |t| 2 * u64::from(t % 40 < 31), window, 3),
            WorkloadResult { changed_px: None, ..declared_only() },
            WorkloadResult {
                name: "kms-damage".to_owned(),
                not_run: Some("hyperv_fb has no KMS".to_owned()),
                ..WorkloadResult::default()
            },
        ],
        checks: vec![
            check("handshake", true, "version 3.5, VRAM acknowledged, 1 situation"),
            check("rate_cap", true, "at most 20 DIRT in one second, limit is 21"),
            check("missed:moving-window", false, "1 843 pixels were missed in 3 areas, limit is 0"),
            check("over_declared:idle", false, "16 032 declared for each changed pixel, limit is 4 000"),
            check("stale", true, "0 of 3072 tiles differ"),
        ],
        limits: vec![
            "synthetic data: this page shows what a page looks like, not what a guest does".to_owned(),
            "a pixel that changed and changed back between two looks at the log is not seen".to_owned(),
            "what the guest never copied from its shadow to VRAM is not seen".to_owned(),
        ],
    }
}

/// Nothing at all: every value that may be null is null, every list is empty.
pub(crate) fn empty() -> Measurement {
    let rich = rich();
    Measurement {
        guest: Guest::default(),
        host: Host { kernel: None, vcpus: None, ram_bytes: None, duration_ms: None, ..rich.host },
        device: Device {
            vmbus_version: None,
            synthvid_version: None,
            mode: None,
            pitch_bytes: None,
            depth_bits: None,
            vram: VramReport::default(),
            ..rich.device
        },
        workloads: vec![WorkloadResult { name: "nothing".to_owned(), ..WorkloadResult::default() }],
        checks: Vec::new(),
        limits: Vec::new(),
        ..rich
    }
}

fn check(name: &str, passed: bool, detail: &str) -> Check {
    Check { name: name.to_owned(), passed, detail: detail.to_owned() }
}

fn cursor(column: u32, row: u32) -> u64 {
    if column == 3 && row == 20 { 1_600 } else { 0 }
}

fn window(column: u32, row: u32) -> u64 {
    let (x, y) = (f64::from(column) - 30.0, (f64::from(row) - 22.0) * 1.2);
    let distance = x.hypot(y);
    let value = 9_000.0 * (-(distance - 14.0).powi(2) / 30.0).exp();
    if value < 1.0 { 0 } else { format!("{value:.0}").parse().expect("a number") }
}

fn workload(
    name: &str,
    seconds: u32,
    dirt: impl Fn(u32) -> u64,
    changed: impl Fn(u32, u32) -> u64,
    missed: u32,
) -> WorkloadResult {
    let slices = seconds * 10;
    let tiles = || (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (column, row)));
    let changed: Vec<_> = tiles().map(|(column, row)| changed(column, row)).collect();
    let areas: Vec<_> = (0..missed)
        .map(|n| MissedArea {
            at_ms: 2_310.0 + 5_070.0 * f64::from(n),
            x: 512 + 16 * n,
            y: 320 + 80 * n,
            width: 300 - 80 * n,
            height: 3,
            px: u64::from((300 - 80 * n) * 3 - n),
        })
        .collect();
    let inside = |area: &MissedArea, (column, row): (u32, u32)| {
        let overlaps = |at: u32, from: u32, long: u32| at < from + long && from < at + TILE_PX;
        overlaps(column * TILE_PX, area.x, area.width) && overlaps(row * TILE_PX, area.y, area.height)
    };
    let missed_px: u64 = areas.iter().map(|area| area.px).sum();
    let changed_px: u64 = changed.iter().sum();
    let timeline: Vec<_> = (0..slices)
        .map(|t| {
            let at_ms = f64::from(t) * 100.0;
            let here = areas.iter().filter(|area| (at_ms..at_ms + 100.0).contains(&area.at_ms));
            TimelinePoint {
                at_ms,
                dirt_messages: dirt(t),
                declared_px: dirt(t) * 786_432,
                changed_px: dirt(t)
                    * (changed_px / u64::from(slices) + u64::from(t % 7) * changed_px / 3_000),
                missed_px: here.map(|area| area.px).sum(),
            }
        })
        .collect();
    let dirt_messages: u64 = timeline.iter().map(|point| point.dirt_messages).sum();
    let declared_px = dirt_messages * 786_432;
    WorkloadResult {
        name: name.to_owned(),
        duration_ms: f64::from(seconds) * 1e3,
        operations: Some(u64::from(seconds) * 40),
        dirt_messages,
        dirt_rects: dirt_messages,
        max_dirt_in_1s: 20,
        signals: Some(dirt_messages + 4),
        ring_full: Some(0),
        declared_px,
        declared_union_px: Some(declared_px),
        implied_px: 786_432,
        written_pages: Some(changed_px / 700),
        changed_px: Some(changed_px),
        rewritten_px: Some(changed_px / 3),
        over_declared_px: Some(declared_px.saturating_sub(changed_px)),
        missed_px: Some(missed_px),
        stale: Some(StaleTiles {
            tile_px: TILE_PX,
            compared: 3_072,
            differing: u64::from(missed) * 7,
            first: (0..missed).map(|n| (32 + n, 20 + 5 * n)).collect(),
        }),
        interval_ms: Spread { p50: Some(50.1), p99: Some(104.2), max: Some(912.0) },
        interval_histogram: bell(44.0, 1.0, 64, 8.0, dirt_messages),
        latency_us: Latencies {
            doorbell_to_surface: Spread { p50: Some(410.0), p99: Some(1_930.0), max: Some(4_400.0) },
            doorbell_to_surface_histogram: bell(200.0, 40.0, 60, 9.0, dirt_messages),
            write_to_dirt: Spread { p50: Some(24_800.0), p99: Some(61_000.0), max: Some(88_000.0) },
            write_to_dirt_histogram: octaves(400.0, 9, dirt_messages * 3),
        },
        costs: Costs {
            exits_total: Some(dirt_messages * 31),
            exits_user: Some(dirt_messages * 2),
            exits_by_reason: BTreeMap::from([
                ("exits".to_owned(), dirt_messages * 31),
                ("halt_exits".to_owned(), dirt_messages * 11),
                ("irq_exits".to_owned(), dirt_messages * 6),
                ("io_exits".to_owned(), dirt_messages),
                ("hypercalls".to_owned(), dirt_messages / 2),
            ]),
            exits_user_per_dirt: Some(2.0),
            host_cpu_us: Some(dirt_messages * 431),
            host_cpu_us_per_dirt: Some(431.0),
            host_cpu_us_per_mib: Some(143.7),
            oracle_cpu_us: Some(dirt_messages * 212),
            guest_cpu_ms: Some(u64::from(seconds) * 120),
            ..Costs::default()
        },
        timeline,
        heat: Some(Heat {
            tile_px: TILE_PX,
            columns: COLUMNS,
            rows: ROWS,
            declared: tiles().map(|_| dirt_messages * 256).collect(),
            changed,
            missed: tiles()
                .map(|tile| areas.iter().filter(|area| inside(area, tile)).map(|area| area.px / 12 + 1).sum())
                .collect(),
        }),
        missed: areas,
        ..WorkloadResult::default()
    }
}

/// Declared traffic alone, as without a comparison of pixels.
fn declared_only() -> WorkloadResult {
    let all = workload("flood", 5, |t| 40 + u64::from(t % 5), window, 0);
    WorkloadResult {
        written_pages: None,
        rewritten_px: None,
        over_declared_px: None,
        missed_px: None,
        stale: None,
        operations: None,
        costs: Costs::default(),
        latency_us: Latencies {
            write_to_dirt: Spread::default(),
            write_to_dirt_histogram: Vec::new(),
            ..all.latency_us.clone()
        },
        ..all
    }
}

/// Bars of equal width around the middle of the left third, `total` values in all or a few more.
fn bell(from: f64, width: f64, bars: u32, spread: f64, total: u64) -> Vec<Bucket> {
    let bar = |n: u32| {
        let part = (-((f64::from(n) - f64::from(bars) / 8.0) / spread).powi(2)).exp() / (spread * 1.77);
        let start = from + f64::from(n) * width;
        let count = format!("{:.0}", part * total as f64).parse().expect("a number");
        Bucket { from: start, to: start + width, count }
    };
    (0..bars).map(bar).collect()
}

/// Bars of which each is twice as wide as the one before.
fn octaves(from: f64, bars: i32, total: u64) -> Vec<Bucket> {
    let bar = |n: i32| {
        let start = from * 2_f64.powi(n);
        let far = u64::from((n - 5).unsigned_abs());
        Bucket { from: start, to: start * 2.0, count: total / (3 + far * far) }
    };
    (0..bars).map(bar).collect()
}
