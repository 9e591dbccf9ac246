//! What is done with a guest, step by step, and checked after each.

use std::path::Path;
use std::time::{Duration, Instant};

use device_model::options::Repaint;
use device_model::{MonotonicClock, Picture};
use guest_agent::pattern::Pattern;
use guest_agent::protocol::{Command, Done, Driver, Hello, Vcs};
use meter::SharedMeter;
use meter::report::Check;

use super::agent::{Agent, AgentSilence, Heard};
use super::firmware::Verdict;
use super::lifecycle::Way;
use super::taken::Taken;
use super::vm::Vm;
use super::{checks, no_driver, promise};
use crate::cli::Scenario;
use crate::exit::ExitError;
use crate::output::ResultFiles;
use crate::progress::{Phase, Progress};

/// Seed of the demo's pattern; any number does, and the report's reader can draw it again from this one.
const PATTERN_SEED: u64 = 0x0057_6569_2048_7531;
/// Lines that the demo prints: four screens of a 1024x768 console, so that it scrolls.
const CONSOLE_LINES: u32 = 200;
/// A little more than one refresh period of hyperv_fb (HZ/20 at HZ=250 is 48 ms), after which an unwanted DIRT is a mistake.
pub(super) const REFRESH_PERIOD: Duration = Duration::from_millis(60);

/// After so long, by the guest's clock, damage that has not come never will.
const LATER_MS: u32 = 2000;

/// How long the first DIRT may take after the driver has its screen: many refresh periods of a slow guest. Time in which this program, and so
/// the guest, was held up by the machine does not count.
const FIRST_DIRT: Duration = Duration::from_secs(20);
/// How long the driver has for one of its own, four refresh periods of hyperv_fb; then a line is printed for it to declare.
///
/// hyperv_fb forgets what the text console draws while it comes up if its refresh falls between that and its being ready
/// (`hvfb_update_work` takes the dirty rectangle before it looks at `fb_ready`).
const OWN_DIRT: Duration = Duration::from_millis(200);
/// How often one looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// What the scenario works with.
pub(crate) struct Stage<'a, 'b> {
    pub(crate) agent: Agent,
    pub(crate) vm: &'a mut Vm<'b>,
    pub(crate) meter: SharedMeter,
    pub(crate) clock: MonotonicClock,
    pub(crate) progress: &'a Progress,
    pub(crate) results: &'a ResultFiles,
    /// Whether pictures are written with the guest's pointer over them.
    pub(crate) pointer: bool,
    /// When the whole run must be over.
    pub(crate) until: Instant,
    /// Whether the device wants dirt at all.
    pub(crate) dirt_wanted: bool,
    /// Whether the host repaints where Linux changes its screen and declares nothing.
    pub(crate) repaint: Repaint,
    /// How often a scenario does what it is named after; its own number if none is given.
    pub(crate) repeat: Option<u32>,
}

/// What came out of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) hello: Option<Hello>,
    pub(crate) driver: Option<String>,
    pub(crate) checks: Vec<Check>,
    /// Things that were not done, each with the reason.
    pub(crate) left_out: Vec<String>,
    /// Signals that found no channel because the host had just taken it away, which is no fault of the guest's.
    pub(crate) overtaken_signals: u64,
}

/// A step could not be taken: either a finding about the guest, or our failure.
pub(super) enum Stop {
    Guest(String),
    Ours(ExitError),
}

impl From<AgentSilence> for Stop {
    fn from(silence: AgentSilence) -> Self {
        Self::Guest(silence.to_string())
    }
}

impl From<super::event_loop::LoopGone> for Stop {
    fn from(gone: super::event_loop::LoopGone) -> Self {
        Self::Ours(gone.into())
    }
}

impl From<ExitError> for Stop {
    fn from(error: ExitError) -> Self {
        Self::Ours(error)
    }
}

impl Stage<'_, '_> {
    /// Plays `scenario`. A guest that does not do its part is a failed check, not an error.
    pub(crate) fn play(&mut self, scenario: Scenario) -> Result<Outcome, ExitError> {
        let mut outcome = Outcome::default();
        let ended = match scenario {
            Scenario::Demo => self.demo(&mut outcome),
            Scenario::Boot => self.boot_to_first_dirt(&mut outcome),
            Scenario::Reboot => self.reboot(&mut outcome),
            Scenario::Rebind => self.rebind(Way::Binding, &mut outcome),
            Scenario::Reload => self.rebind(Way::Module, &mut outcome),
            Scenario::Rescind => self.rescind(&mut outcome),
            Scenario::Kexec => self.kexec(&mut outcome),
            Scenario::Suspend => self.hibernate(&mut outcome),
            Scenario::Panic => self.panic(&mut outcome),
            Scenario::Poweroff => self.power_off_while_drawing(&mut outcome),
            Scenario::Input => self.input(&mut outcome),
            Scenario::None => Ok(()),
        };
        match ended {
            Ok(()) => {}
            Err(Stop::Ours(error)) => return Err(error),
            Err(Stop::Guest(reason)) => {
                self.progress.failed();
                outcome.checks.push(checks::check("scenario", false, reason));
            }
        }
        Ok(outcome)
    }

    /// Asks the guest for something and waits until it is done.
    pub(super) fn ask(&mut self, command: Command) -> Result<Done, AgentSilence> {
        let Self { agent, vm, until, .. } = self;
        agent.ask(command, *until, &mut || vm.look())
    }

    /// The text console as the guest's kernel holds it.
    pub(super) fn text_console(&mut self) -> Result<Vcs, AgentSilence> {
        let Self { agent, vm, until, .. } = self;
        agent.text_console(*until, &mut || vm.look())
    }

    /// The guest boots, its driver comes up and declares something.
    pub(super) fn boot(&mut self, outcome: &mut Outcome) -> Result<Driver, Stop> {
        self.progress.begin(Phase::GuestBoot);
        let progress = self.progress;
        let Self { agent, vm, until, .. } = self;
        let (introduction, driver) =
            agent.introduction(*until, &mut || vm.look(), &mut |heard| match heard {
                Heard::Hello(hello) => {
                    progress.done(&format!("Linux {}", hello.release));
                    progress.begin(Phase::Driver);
                }
                Heard::Modules { loaded } => progress.note(&format!("{loaded} modules loaded")),
            })?;
        outcome.hello = introduction.hello;
        let failed: Vec<String> = introduction
            .failed_modules
            .iter()
            .map(|module| format!("{}: {}", module.name, module.error))
            .collect();
        let found = match &driver {
            Ok(driver) => format!("{} at {}x{}", driver.name, driver.width, driver.height),
            Err(reason) => {
                let step = self.meter.with(|meter| no_driver::step_not_taken(meter));
                let failed: String = failed.iter().map(|module| format!("; {module}")).collect();
                format!("no frame buffer: {reason}{failed}; {step}")
            }
        };
        outcome.checks.push(checks::check("driver", driver.is_ok(), found.clone()));
        if let Some(firmware) = self.vm.new_firmware() {
            match firmware.judge(introduction.firmware_screen.as_ref()) {
                Verdict::Checked(checks) => outcome.checks.extend(checks),
                Verdict::NoDriver(reason) => outcome.left_out.push(reason),
            }
        }
        let driver = driver.map_err(|_| Stop::Guest("there is nothing to draw on".into()))?;
        outcome.driver = Some(driver.driver.clone().unwrap_or_else(|| driver.name.clone()));
        self.progress.done(&found);
        Ok(driver)
    }

    /// The guest boots, its driver comes up, and the first DIRT of its text console arrives.
    fn boot_to_first_dirt(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        if !self.dirt_wanted {
            outcome.left_out.push("the first DIRT: the device was told never to want dirt (dirt=off)".into());
            return Ok(());
        }
        let mut looks = 0;
        while self.meter.with(|meter| meter.first_dirt_ns()).is_none() {
            if let Some(reason) = self.vm.look() {
                return Err(Stop::Guest(format!("the guest is gone before its first DIRT: {reason}")));
            }
            if looks * LOOK >= FIRST_DIRT || Instant::now() >= self.until {
                break;
            }
            if looks * LOOK == OWN_DIRT {
                self.ask(Command::Console { lines: 1 })?;
                outcome.left_out.push(
                    format!(
                        "the driver's own first DIRT: {} ms after it came up there was none, and a line was printed",
                        OWN_DIRT.as_millis()
                    ),
                );
            }
            looks += 1;
            std::thread::sleep(LOOK);
        }
        outcome.checks.push(self.dirt_came());
        Ok(())
    }

    /// There is a DIRT, if anybody asked for one.
    fn dirt_came(&self) -> Check {
        let messages = self.meter.with(|meter| meter.counters().dirt_messages);
        checks::check("dirt_came", messages > 0 || !self.dirt_wanted, format!("{messages} DIRT messages"))
    }

    fn demo(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        let driver = self.boot(outcome)?;
        if self.dirt_wanted {
            self.idle(outcome)?;
        }
        self.draw(outcome)?;
        if self.dirt_wanted && !self.vram_in_ram() {
            self.small_damage(outcome)?;
        }
        if promise::has_kms(outcome.driver.as_deref()) {
            if self.dirt_wanted {
                self.kms(&driver, outcome)?;
            } else {
                outcome.left_out.push("KMS: without DIRT (dirt=off) nothing of it can be seen".into());
            }
        }
        let typed = if self.dirt_wanted { Some(self.typing()?) } else { None };
        self.console(outcome)?;
        if self.dirt_wanted {
            self.silence(outcome)?;
        } else {
            outcome.left_out.push("dirt on demand: the device was told never to want dirt (dirt=off)".into());
        }
        let busiest = self.meter.with(|meter| meter.max_dirt_in_1s());
        let release = outcome.hello.as_ref().map(|hello| hello.release.as_str());
        match promise::rate_cap(outcome.driver.as_deref(), release, busiest, typed) {
            Ok(check) => outcome.checks.push(check),
            Err(no_promise) => outcome.left_out.push(no_promise),
        }
        outcome.checks.push(self.dirt_came());
        Ok(())
    }

    /// Whether the guest took its own RAM for VRAM, where nobody can draw through a mapping.
    fn vram_in_ram(&self) -> bool {
        let vram = self.meter.with(|meter| meter.device().vram);
        vram.is_some_and(|vram| vram.kind == device_model::VramKind::Ram)
    }

    /// Graphics through a mapping of the frame buffer, so by deferred I/O.
    pub(super) fn draw(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        if self.vram_in_ram() {
            // hyperv_fb hands tail pages of one allocation to deferred I/O, which takes references on each: the
            // guest's own page allocator is damaged when the mapping goes away.
            outcome
                .left_out
                .push("graphics: with VRAM in RAM this driver's mmap corrupts the guest's memory".into());
            return Ok(());
        }
        self.progress.begin(Phase::Draw);
        let draw = Command::Draw { pattern: Pattern::Coordinates, seed: PATTERN_SEED };
        self.ask(draw)?;
        self.let_refresh_periods_pass()?;
        let picture = self.settled_picture("graphics")?;
        let check = checks::pattern("pattern", &picture, Pattern::Coordinates, PATTERN_SEED);
        self.progress.done(&check.detail);
        outcome.checks.push(check);
        if has_margin(&picture) {
            // Linux's console never clears what lies beyond its last whole cell, and this picture does.
            self.ask(Command::Fill { color: 0 })?;
            self.settle("the screen was blank")?;
        }
        Ok(())
    }

    /// Text through the kernel's console.
    pub(super) fn console(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.progress.begin(Phase::Console);
        self.ask(Command::Console { lines: CONSOLE_LINES })?;
        let vcs = self.text_console()?;
        self.let_refresh_periods_pass()?;
        let picture = self.settled_picture("console")?;
        let mut check = checks::console(&picture, &vcs);
        if !check.passed {
            let again = self.console_later(&vcs)?;
            check.detail.push_str(&again);
        }
        self.progress.done(&check.detail);
        outcome.checks.push(check);
        outcome.checks.push(last_console_line(&vcs));
        Ok(())
    }

    /// Whether a console that was wrong has become right by itself: damage that came late, or that was never declared.
    fn console_later(&mut self, vcs: &Vcs) -> Result<String, Stop> {
        self.ask(Command::Idle { ms: LATER_MS })?;
        self.vm.events().with_bus(|bus| bus.process_doorbells())?;
        let again = checks::console(&self.picture()?, vcs);
        let found = if again.passed { "it is right: the damage was late" } else { "it is still wrong" };
        Ok(format!("; {LATER_MS} ms later, with nothing drawn, {found}"))
    }

    /// The host stops wanting dirt, and wants it again.
    ///
    /// The guest's own clock says when its refresh period is over: on a loaded host ours runs ahead of what the
    /// guest has had time for.
    fn silence(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.vm.events().with_video(|video| video.want_dirt(false))?;
        self.let_refresh_periods_pass()?;
        let mark = self.meter.with(|meter| meter.mark());
        self.ask(Command::Console { lines: 20 })?;
        self.let_refresh_periods_pass()?;
        let unwanted = self.meter.with(|meter| meter.since(&mark).dirt_messages);
        let detail = format!(
            "{unwanted} DIRT after FEATURE_CHANGE(dirt=0) and one refresh period, while text was drawn"
        );
        outcome.checks.push(checks::check("silent_when_unwanted", unwanted == 0, detail));

        self.vm.events().with_video(|video| video.want_dirt(true))?;
        self.let_refresh_periods_pass()?;
        let mark = self.meter.with(|meter| meter.mark());
        self.ask(Command::Console { lines: 20 })?;
        self.let_refresh_periods_pass()?;
        let mut again = self.meter.with(|meter| meter.since(&mark).dirt_messages);
        // A large screen may take a slow guest longer than its refresh period to copy.
        let until = self.until.min(Instant::now() + FIRST_DIRT);
        while again == 0 && Instant::now() < until {
            self.let_refresh_periods_pass()?;
            again = self.meter.with(|meter| meter.since(&mark).dirt_messages);
        }
        let detail = format!("{again} DIRT after FEATURE_CHANGE(dirt=1), while text was drawn");
        outcome.checks.push(checks::check("dirt_when_wanted_again", again > 0, detail));
        Ok(())
    }

    /// Lets the guest's refresh timers run out twice, by its own clock, and takes in what it sent until then.
    pub(super) fn let_refresh_periods_pass(&mut self) -> Result<(), Stop> {
        let ms = u32::try_from(2 * REFRESH_PERIOD.as_millis()).unwrap_or(u32::MAX);
        self.ask(Command::Idle { ms })?;
        self.vm.events().with_bus(|bus| bus.process_doorbells())?;
        Ok(())
    }

    /// What the host has of the screen now.
    pub(super) fn picture(&mut self) -> Result<Picture, Stop> {
        let picture = self.vm.events().with_video(|video| video.picture())?;
        picture.ok_or_else(|| Stop::Guest("there is no video device".into()))
    }

    /// Waits until nothing arrives any more, then takes the picture and writes it where the user wants it.
    pub(super) fn settled_picture(&mut self, name: &str) -> Result<Picture, Stop> {
        self.settle(&format!("{name} was taken"))?;
        self.picture_to(name)
    }

    /// Takes the picture and writes it where the user wants it, with the pointer if the user wants that. What is given
    /// back, for checks, is the surface alone.
    pub(super) fn picture_to(&mut self, name: &str) -> Result<Picture, Stop> {
        let pointer = self.pointer;
        let taken = self.vm.events().with_video(move |video| Taken::of(video, pointer))?;
        let taken = taken.ok_or_else(|| Stop::Guest("there is no video device".into()))?;
        if let Some(path) = self.results.picture(name) {
            write_picture(&path, taken.written())?;
        }
        Ok(taken.surface)
    }
}

/// Whether the cells of Linux's largest font, 16 by 32 pixels, leave something of the screen over. Those of the smaller
/// one, 8 by 16, then may.
fn has_margin(picture: &Picture) -> bool {
    !picture.width.is_multiple_of(16) || !picture.height.is_multiple_of(32)
}

fn last_console_line(vcs: &Vcs) -> Check {
    checks::last_line(vcs, &guest_agent::protocol::console_line(CONSOLE_LINES, CONSOLE_LINES))
}

/// Writes a screenshot.
pub(crate) fn write_picture(path: &Path, picture: &Picture) -> Result<(), ExitError> {
    display::png::write_png_pixels(path, picture.width, picture.height, &picture.pixels)
        .map_err(|error| ExitError::cannot_run(error.to_string()))
}
