//! The keys of `hyperv-synthvid`, and the checks between them.

use core::fmt;

use synthvid::geometry::Size;
use synthvid::version::{Version, VersionSet};

use super::error::OptionError;
use super::misbehaviour::{Stall, VramAck};
use super::size::ByteSize;
use super::spec::{DeviceSpec, KeySpec, ValueError};

/// Least VRAM. The offer counts it in whole MiB, so there is nothing between none and this.
const VRAM_MIN: u64 = 1 << 20;
/// Most VRAM. 8K at 32 bits per pixel takes 127 MiB; the rest is room for a second look.
const VRAM_MAX: u64 = 256 << 20;
/// Bytes of VRAM that one pixel takes: the device offers 32 bits per pixel only.
const BYTES_PER_PIXEL: u64 = 4;
/// Most modes that one SUPPORTED_RESOLUTIONS answer can carry
/// (Linux `hyperv_drm_proto.c`, `SYNTHVID_MAX_RESOLUTION_COUNT`).
const MODES_MAX: usize = 64;
/// Least edge of a mode, in pixels.
const EDGE_MIN: u32 = 64;
/// Greatest edge of a mode, in pixels.
const EDGE_MAX: u32 = 16384;

/// Modes offered when none are named, as far as VRAM holds them. Each is larger than the one before in both
/// directions: a guest may pair the greatest width with the greatest height (hyperv_fb did, until 9ff5549b1d1d).
const STANDARD_MODES: [Size; 6] = [
    Size::new(640, 480),
    Size::new(800, 600),
    Size::new(1024, 768),
    Size::new(1152, 864),
    Size::new(1600, 900),
    Size::new(1920, 1080),
];
/// The mode that is current at first, where VRAM holds it.
const DEFAULT_MODE: Size = Size::new(1024, 768);

const VERSIONS: [(&str, Version); 5] = [
    ("3.0", Version::V3_0),
    ("3.2", Version::V3_2),
    ("3.3", Version::V3_3),
    ("3.4", Version::V3_4),
    ("3.5", Version::V3_5),
];

/// When the host may repaint its surface without a DIRT from the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repaint {
    /// After a changed situation, a moved VRAM, or dirt newly wanted; counted apart from declared damage.
    #[default]
    Implied,
    /// Never: what the guest does not declare stays stale, and shows.
    Strict,
}

/// What a `hyperv-synthvid` device is to be, checked: every mode fits its VRAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynthvidOptions {
    /// Bytes of VRAM, whole MiB.
    pub vram_bytes: u64,
    /// Modes offered to the guest: 1 to 64, no two alike.
    pub modes: Vec<Size>,
    /// Place in `modes` of the mode that is current at first.
    pub default_mode: usize,
    /// Highest protocol version that the device accepts.
    pub version: Version,
    /// When the surface is repainted unasked.
    pub repaint: Repaint,
    /// Whether the host asks the guest for DIRT messages.
    pub dirt: bool,
    /// Test equipment: how VRAM_LOCATION is answered.
    pub vram_ack: VramAck,
    /// Test equipment: when the host stops looking into the ring for a while.
    pub stall: Option<Stall>,
}

impl SynthvidOptions {
    /// Reads `hyperv-synthvid[,KEY=VALUE...]`.
    ///
    /// # Errors
    /// The first mistake, with its place in `text`.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let parsed = SYNTHVID.parse(text)?;
        Self::resolve(&parsed.values).map_err(|(key, reason)| parsed.conflict(key, reason))
    }

    /// The mode that is current at first.
    pub fn mode(&self) -> Size {
        self.modes.get(self.default_mode).copied().unwrap_or(DEFAULT_MODE)
    }

    /// What the host is to do wrong on purpose, in the words of the keys; empty for a host that behaves.
    pub fn misbehaviour(&self) -> Vec<String> {
        let ack = (self.vram_ack != VramAck::Normal).then(|| format!("vram-ack={}", self.vram_ack));
        ack.into_iter().chain(self.stall.map(|stall| format!("stall={stall}"))).collect()
    }

    /// Every version that the device accepts: the shipped ones up to [`version`](Self::version).
    pub fn versions(&self) -> VersionSet {
        VERSIONS
            .iter()
            .filter(|(_, version)| version.minor() <= self.version.minor())
            .fold(VersionSet::NONE, |set, (_, version)| set.with(*version))
    }

    /// Fills in defaults and checks the values against each other; an error names the key to point at.
    fn resolve(keys: &SynthvidKeys) -> Result<Self, (&'static str, String)> {
        let vram_bytes = keys.vram.unwrap_or(8 << 20);
        let fits = |mode: &Size| mode.area() * BYTES_PER_PIXEL <= vram_bytes;
        let too_small = |mode: &Size| {
            format!(
                "mode {}x{} needs {} bytes of VRAM at 32 bits per pixel, vram={} holds {vram_bytes}; \
                 vram={}M would do",
                mode.width,
                mode.height,
                mode.area() * BYTES_PER_PIXEL,
                ByteSize(vram_bytes),
                (mode.area() * BYTES_PER_PIXEL).div_ceil(1 << 20),
            )
        };
        let mut modes = match &keys.modes {
            Some(modes) => modes.clone(),
            None => STANDARD_MODES.into_iter().filter(fits).collect(),
        };
        if let Some(mode) = modes.iter().find(|mode| !fits(mode)) {
            return Err(("modes", too_small(mode)));
        }
        let current = match keys.mode {
            Some(mode) if !fits(&mode) => return Err(("mode", too_small(&mode))),
            Some(mode) => mode,
            None if modes.contains(&DEFAULT_MODE) => DEFAULT_MODE,
            None => match (keys.modes.as_ref().and_then(|modes| modes.first()), modes.last()) {
                (Some(&first), _) => first,
                (None, Some(&largest)) => largest,
                (None, None) => return Err(("vram", too_small(&STANDARD_MODES[0]))),
            },
        };
        let default_mode = match modes.iter().position(|mode| *mode == current) {
            Some(at) => at,
            None if keys.modes.is_some() => {
                let reason = format!("mode {}x{} is not among modes=[...]", current.width, current.height);
                return Err(("mode", reason));
            }
            None => {
                modes.push(current);
                modes.len() - 1
            }
        };
        Ok(Self {
            vram_bytes,
            modes,
            default_mode,
            version: keys.version.unwrap_or(Version::V3_5),
            repaint: keys.repaint.unwrap_or_default(),
            dirt: keys.dirt.unwrap_or(true),
            vram_ack: keys.vram_ack.unwrap_or_default(),
            stall: keys.stall.flatten(),
        })
    }
}

impl Default for SynthvidOptions {
    /// The device without any key: 8 MiB, 1024x768 among the standard modes, version 3.5.
    fn default() -> Self {
        let modes: Vec<Size> = STANDARD_MODES.to_vec();
        let default_mode = modes.iter().position(|mode| *mode == DEFAULT_MODE).unwrap_or_default();
        Self {
            vram_bytes: 8 << 20,
            modes,
            default_mode,
            version: Version::V3_5,
            repaint: Repaint::Implied,
            dirt: true,
            vram_ack: VramAck::Normal,
            stall: None,
        }
    }
}

impl fmt::Display for SynthvidOptions {
    /// The text with every key spelled out, which reads back as the same options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},vram={},modes=[", SYNTHVID.name, ByteSize(self.vram_bytes))?;
        for (place, mode) in self.modes.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}x{}", mode.width, mode.height)?;
        }
        let repaint = match self.repaint {
            Repaint::Implied => "implied",
            Repaint::Strict => "strict",
        };
        let dirt = if self.dirt { "on" } else { "off" };
        let Size { width, height } = self.mode();
        write!(f, "],mode={width}x{height},version={},repaint={repaint},dirt={dirt}", self.version)?;
        // A host that behaves needs no word of it.
        self.misbehaviour().iter().try_for_each(|word| write!(f, ",{word}"))
    }
}

/// Values as typed, before defaults and before they are checked against each other.
#[derive(Clone, Debug, Default)]
pub struct SynthvidKeys {
    vram: Option<u64>,
    modes: Option<Vec<Size>>,
    mode: Option<Size>,
    version: Option<Version>,
    repaint: Option<Repaint>,
    dirt: Option<bool>,
    vram_ack: Option<VramAck>,
    stall: Option<Option<Stall>>,
}

/// The table of `hyperv-synthvid`.
pub static SYNTHVID: DeviceSpec<SynthvidKeys> = DeviceSpec {
    name: "hyperv-synthvid",
    doc: "Hyper-V synthetic video, the device of hyperv_fb and hyperv_drm",
    keys: &[
        KeySpec {
            name: "vram",
            value: "SIZE",
            default: "8M",
            doc: "video memory in the offer, whole MiB from 1M to 256M; with 4M or less hyperv_fb takes its own RAM in Generation 1",
            apply: |keys, value| {
                keys.vram = Some(vram(value)?);
                Ok(())
            },
        },
        KeySpec {
            name: "modes",
            value: "[WxH,...]",
            default: "standard modes that fit",
            doc: "modes offered to the guest, 1 to 64; each must fit the video memory",
            apply: |keys, value| {
                keys.modes = Some(modes(value)?);
                Ok(())
            },
        },
        KeySpec {
            name: "mode",
            value: "WxH",
            default: "1024x768",
            doc: "mode that the guest is told to start with",
            apply: |keys, value| {
                keys.mode = Some(screen_size(value)?);
                Ok(())
            },
        },
        KeySpec {
            name: "version",
            value: "3.0|3.2|3.3|3.4|3.5",
            default: "3.5",
            doc: "highest protocol version that is accepted",
            apply: |keys, value| {
                const KNOWN: &[&str] = &["3.0", "3.2", "3.3", "3.4", "3.5"];
                let found = VERSIONS.iter().find(|(word, _)| *word == value);
                keys.version = Some(found.ok_or_else(|| ValueError::not_one_of(KNOWN))?.1);
                Ok(())
            },
        },
        KeySpec {
            name: "repaint",
            value: "implied|strict",
            default: "implied",
            doc: "whether the host repaints after a mode change, a moved VRAM or dirt newly wanted, or never unasked",
            apply: |keys, value| {
                keys.repaint = Some(match value {
                    "implied" => Repaint::Implied,
                    "strict" => Repaint::Strict,
                    _ => return Err(ValueError::not_one_of(&["implied", "strict"])),
                });
                Ok(())
            },
        },
        KeySpec {
            name: "dirt",
            value: "on|off",
            default: "on",
            doc: "whether the host asks the guest for DIRT messages; off leaves the surface as it was",
            apply: |keys, value| {
                keys.dirt = Some(match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(ValueError::not_one_of(&["on", "off"])),
                });
                Ok(())
            },
        },
        KeySpec {
            name: "vram-ack",
            value: "normal|late:SECONDS|wrong-context|never",
            default: "normal",
            doc: "test equipment: how the guest's VRAM location is acknowledged, late by 1 to 60 s",
            apply: |keys, value| {
                keys.vram_ack = Some(VramAck::parse(value)?);
                Ok(())
            },
        },
        KeySpec {
            name: "stall",
            value: "off|DIRT:MS",
            default: "off",
            doc: "test equipment: after so many DIRT the host leaves the guest's ring alone, once, for 1 to 60000 ms",
            apply: |keys, value| {
                keys.stall = Some(Stall::parse(value)?);
                Ok(())
            },
        },
    ],
};

fn vram(value: &str) -> Result<u64, ValueError> {
    let ByteSize(bytes) =
        value.parse().map_err(|error: super::SizeError| ValueError::new(error.to_string()))?;
    if !(VRAM_MIN..=VRAM_MAX).contains(&bytes) {
        let (min, max) = (ByteSize(VRAM_MIN), ByteSize(VRAM_MAX));
        return Err(ValueError::new(format!("{bytes} bytes is outside {min} to {max}")));
    }
    if bytes % (1 << 20) != 0 {
        return Err(ValueError::new(format!("{bytes} bytes is not a whole number of MiB")));
    }
    Ok(bytes)
}

/// Reads `WIDTHxHEIGHT`, as the keys `mode` and `modes` take it.
///
/// # Errors
/// Another form, or an edge out of bounds.
pub fn screen_size(value: &str) -> Result<Size, ValueError> {
    let form = || ValueError::new(format!("\"{value}\" is not WIDTHxHEIGHT"));
    let (width, height) = value.split_once('x').ok_or_else(form)?;
    let edge = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            return Err(form());
        }
        digits.parse().ok().filter(|edge| (EDGE_MIN..=EDGE_MAX).contains(edge)).ok_or_else(|| {
            ValueError::new(format!("edge {digits} is outside {EDGE_MIN} to {EDGE_MAX} pixels"))
        })
    };
    Ok(Size::new(edge(width)?, edge(height)?))
}

fn modes(value: &str) -> Result<Vec<Size>, ValueError> {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| ValueError::new("a list stands in square brackets"))?;
    if inner.is_empty() {
        return Err(ValueError::new("a list needs at least one mode"));
    }
    let mut list = Vec::new();
    for item in inner.split(',') {
        let item = screen_size(item)?;
        if list.contains(&item) {
            return Err(ValueError::new(format!("{}x{} is listed twice", item.width, item.height)));
        }
        list.push(item);
    }
    if list.len() > MODES_MAX {
        return Err(ValueError::new(format!("{} modes are listed, limit is {MODES_MAX}", list.len())));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::super::OptionMistake;
    use super::*;

    fn parse(keys: &str) -> Result<SynthvidOptions, OptionError> {
        SynthvidOptions::parse(&format!("hyperv-synthvid{keys}"))
    }

    fn refusal(keys: &str) -> (OptionMistake, String) {
        let error = parse(keys).unwrap_err();
        (error.mistake().clone(), error.quoted().to_owned())
    }

    #[test]
    fn no_key_gives_the_default_device() {
        let options = parse("").unwrap();
        assert_eq!(options, SynthvidOptions::default());
        assert_eq!(options.mode(), Size::new(1024, 768));
        assert_eq!(options.versions(), VersionSet::ALL);
    }

    #[test]
    fn documented_defaults_read_back_as_the_default_device() {
        for key in SYNTHVID.keys.iter().filter(|key| key.name != "modes") {
            let spelled = parse(&format!(",{}={}", key.name, key.default)).unwrap();
            assert_eq!(spelled, SynthvidOptions::default(), "{}", key.name);
        }
    }

    #[test]
    fn every_key_is_taken() {
        let options =
            parse(",vram=16M,modes=[800x600,1920x1080],mode=1920x1080,version=3.2,repaint=strict,dirt=off")
                .unwrap();
        assert_eq!(options.vram_bytes, 16 << 20);
        assert_eq!(options.modes, [Size::new(800, 600), Size::new(1920, 1080)]);
        assert_eq!(options.default_mode, 1);
        assert_eq!(options.version, Version::V3_2);
        assert_eq!(options.versions(), VersionSet::NONE.with(Version::V3_0).with(Version::V3_2));
        assert_eq!((options.repaint, options.dirt), (Repaint::Strict, false));
        assert!(options.misbehaviour().is_empty());
    }

    #[test]
    fn what_the_host_does_wrong_on_purpose_is_named_by_its_keys() {
        let options = parse(",vram-ack=wrong-context,stall=2000:5000").unwrap();
        assert_eq!(options.vram_ack, VramAck::WrongContext);
        assert_eq!(options.stall, Some(Stall { at_dirt: 2000, ms: 5000 }));
        assert_eq!(options.misbehaviour(), ["vram-ack=wrong-context", "stall=2000:5000"]);
    }

    #[test]
    fn display_reads_back_as_the_same_options() {
        for keys in [
            "",
            ",vram=4M,dirt=off",
            ",vram-ack=late:12,stall=2000:5000",
            ",modes=[800x600,640x480],mode=640x480,version=3.0,repaint=strict",
        ] {
            let options = parse(keys).unwrap();
            assert_eq!(SynthvidOptions::parse(&options.to_string()), Ok(options), "{keys}");
        }
    }

    #[test]
    fn little_vram_offers_only_the_modes_that_fit() {
        let options = parse(",vram=4M").unwrap();
        assert!(options.modes.iter().all(|mode| mode.area() * 4 <= 4 << 20), "{:?}", options.modes);
        assert_eq!(options.mode(), Size::new(1024, 768));
        assert_eq!(parse(",vram=2M").unwrap().mode(), Size::new(800, 600));
    }

    #[test]
    fn standard_modes_hold_their_own_greatest_edges() {
        for vram in 2..=16_u64 {
            let options = parse(&format!(",vram={vram}M")).unwrap();
            let width = options.modes.iter().map(|mode| mode.width).max().unwrap();
            let height = options.modes.iter().map(|mode| mode.height).max().unwrap();
            assert!(Size::new(width, height).area() * 4 <= vram << 20, "vram={vram}M: {width}x{height}");
        }
    }

    #[test]
    fn mode_outside_the_standard_list_is_added_to_it() {
        let options = parse(",mode=512x384,vram=1M").unwrap();
        assert_eq!(options.modes, [Size::new(512, 384)]);
        assert_eq!(options.mode(), Size::new(512, 384));
    }

    #[test]
    fn first_listed_mode_is_current_when_the_usual_one_is_not_listed() {
        assert_eq!(parse(",modes=[800x600,640x480]").unwrap().mode(), Size::new(800, 600));
        assert_eq!(parse(",modes=[800x600,1024x768]").unwrap().mode(), Size::new(1024, 768));
    }

    #[test]
    fn vram_that_cannot_hold_the_mode_is_refused_with_both_numbers() {
        let error = parse(",vram=4M,mode=1920x1080").unwrap_err();
        assert_eq!(
            error.to_string(),
            "mode 1920x1080 needs 8294400 bytes of VRAM at 32 bits per pixel, vram=4M holds 4194304; \
             vram=8M would do\n  hyperv-synthvid,vram=4M,mode=1920x1080\n                               ^^^^^^^^^"
        );
        for (keys, place) in [
            (",vram=1M", "1M"),
            (",modes=[640x480,1920x1200]", "[640x480,1920x1200]"),
            (",mode=2560x1440", "2560x1440"),
        ] {
            let (mistake, quoted) = refusal(keys);
            assert!(matches!(mistake, OptionMistake::Conflict { .. }), "{keys}: {mistake:?}");
            assert_eq!(quoted, place);
        }
    }

    #[test]
    fn mode_missing_from_the_list_is_refused() {
        let (mistake, quoted) = refusal(",modes=[800x600],mode=640x480");
        assert_eq!(
            mistake,
            OptionMistake::Conflict { reason: "mode 640x480 is not among modes=[...]".into() }
        );
        assert_eq!(quoted, "640x480");
    }

    #[test]
    fn values_out_of_range_name_the_limit() {
        let many: Vec<String> = (0..65).map(|step| format!("{}x64", 64 + step)).collect();
        for (keys, part) in [
            (",vram=0", "outside 1M to 256M"),
            (",vram=257M", "outside 1M to 256M"),
            (",vram=5000K", "not a whole number of MiB"),
            (",vram=8MB", "is not a size"),
            (",mode=63x480", "outside 64 to 16384"),
            (",mode=640x99999999999", "outside 64 to 16384"),
            (",mode=640", "is not WIDTHxHEIGHT"),
            (",mode=+640x480", "is not WIDTHxHEIGHT"),
            (",modes=640x480", "square brackets"),
            (",modes=[]", "a list needs at least one mode"),
            (",modes=[640x480,640x480]", "listed twice"),
            (&format!(",modes=[{}]", many.join(",")), "65 modes are listed, limit is 64"),
            (",version=3.1", "not a known value"),
            (",repaint=never", "not a known value"),
            (",dirt=yes", "not a known value"),
            (",vram-ack=late:61", "seconds 61 is outside 1 to 60"),
            (",stall=1:60001", "milliseconds 60001 is outside 1 to 60000"),
        ] {
            let error = parse(keys).unwrap_err();
            assert!(matches!(error.mistake(), OptionMistake::BadValue { .. }), "{keys}");
            assert!(error.to_string().contains(part), "{keys}: {error}");
        }
    }
}
