//! The real bus and video device over a loopback SynIC, and the guest's end of it as loose parts.
//!
//! `guest_sim` plays a whole driver in virtual time; this guest does only the handshake, and then lets a test get at every
//! register, message, ring and byte of memory in any order, rules or not.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use device_model::bus::DoorbellChange;
use device_model::options::SynthvidOptions;
use device_model::ring_memory::GpadlRing;
use device_model::{Bus, BusParts, Clock, Synthvid};
use guest_sim::{SimMemory, SimVramMapper, VirtualClock};
use hv_abi::hypercall::Status;
use hv_abi::msr;
use meter::SharedMeter;
use meter::measurement::SharedTraffic;
use synic::Sint;
use synic::loopback::{GuestPages, Loopback, LoopbackGuest};
use synthvid::Rect;
use synthvid::vsc::{DriverModel, Vsc, VscConfig};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmbus::client::{Client, ClientAction, ClientConfig, Offer};
use vmbus::ring::{DrainLimits, HeaderField, InRing, OutPacket, OutRing, RingMem};
use vmbus::server::ServerConfig;
use vmbus::{ChannelId, ConnectionId, pipe};

/// Where the SynIC's pages are.
pub const SYNIC_GPA: u64 = 0x10_0000;
/// Where the rings are, guest to host first.
pub const RING_GPA: u64 = 0x20_0000;
/// Where a well-behaved guest has its VRAM.
pub const VRAM_GPA: u64 = 0x40_0000;
/// Bytes of VRAM.
pub const VRAM_BYTES: u64 = 4 << 20;
/// RAM in bytes: all of the above.
pub const RAM_BYTES: usize = 0x80_0000;
/// Pages of each ring, header page included, as Linux's driver has them.
pub const RING_PAGES: u64 = 64;
/// Virtual processors.
pub const VPS: u32 = 2;
/// MMIO window of the guest.
pub const WINDOW_GPA: u64 = 0xf800_0000;

const PAGE: u64 = 4096;
const EMPTY_PAGE: [u8; 4096] = [0; 4096];
const WINDOW_BYTES: usize = 16 << 20;
const VP: u32 = 0;
/// Nobody gets at the hypercall page any more, before a reset.
const HYPERCALL_LOCKED: u64 = 1 << 1;
/// Rounds of guest and host in which a handshake is over; some twenty are needed.
const ROUNDS: u32 = 2_000;
/// Time of a round: time limits of the host must not keep a guest out.
const ROUND_NS: u64 = 1_000_000;
/// Turns in which a host has read what one turn of a guest can leave in its rings.
const HOST_TURNS: u32 = 4;

type GuestRing = GpadlRing<GuestMemoryMmap>;

struct SharedClock(VirtualClock);

impl Clock for SharedClock {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

/// An open channel, from the guest's end.
#[derive(Debug)]
struct Channel {
    offer: Offer,
    incoming: InRing<GuestRing>,
    outgoing: OutRing<GuestRing>,
}

/// Host and guest in one process, in virtual time.
pub struct InProcess {
    /// The guest's processors.
    pub cpu: LoopbackGuest,
    /// The guest's memory.
    pub memory: SimMemory,
    /// The host.
    pub bus: Bus<GuestMemoryMmap, (SharedMeter, SharedTraffic)>,
    /// What the host's observer counted.
    pub meter: SharedMeter,
    /// The same since a moment that a test chooses.
    pub traffic: SharedTraffic,
    /// Everybody's time.
    pub clock: VirtualClock,
    loopback: Loopback,
    open: BTreeSet<ChannelId>,
    vsc: Vsc,
    channel: Option<Channel>,
}

impl InProcess {
    /// A host with one video device of [`VRAM_BYTES`], and a guest that has not made contact.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> Result<Self> {
        let memory = SimMemory::new(RAM_BYTES, WINDOW_GPA, WINDOW_BYTES)?;
        let loopback = Loopback::with_memory(VPS, memory.ram().clone())?;
        let cpu = loopback.guest(GuestPages::at(SYNIC_GPA));
        let (clock, meter) = (VirtualClock::new(), SharedMeter::default());
        let parts = BusParts {
            memory: (**memory.ram()).clone(),
            signal: loopback.synic().clone(),
            doorbells: loopback.synic().clone(),
            inbox: loopback.inbox().clone(),
            clock: Box::new(SharedClock(clock.clone())),
        };
        let config = ServerConfig { vp_count: VPS, ..ServerConfig::default() };
        let traffic = SharedTraffic::default();
        let mut bus = Bus::new(parts, config, (meter.clone(), traffic.clone()));
        let options = SynthvidOptions::parse("hyperv-synthvid,vram=4M,mode=1024x768")?;
        let mapper = SimVramMapper::new(memory.clone());
        let video = bus.add_device(Box::new(Synthvid::new(options, Box::new(mapper))?))?;
        meter.with(|meter| meter.watch_video_channel(video));
        traffic.with(|traffic| traffic.watch_video_channel(video));
        let vsc = Vsc::new(VscConfig::new(DriverModel::HypervFb, VRAM_GPA));
        Ok(Self {
            cpu,
            memory,
            bus,
            meter,
            traffic,
            clock,
            loopback,
            open: BTreeSet::new(),
            vsc,
            channel: None,
        })
    }

    /// One turn of the host: whatever the guest posted, whatever it rang for, whatever is due.
    pub fn host_turn(&mut self) {
        self.bus.process_inbox();
        self.follow_doorbells();
        for channel in self.open.clone() {
            self.bus.process_doorbell(channel);
        }
        self.bus.tick();
        self.follow_doorbells();
    }

    /// The video device.
    ///
    /// # Panics
    /// Never: it was put on the bus.
    #[must_use]
    pub fn video(&self) -> &Synthvid {
        self.bus.device().expect("the device is on the bus")
    }

    /// Messages that the guest posted and the host has not taken, and how many there may be.
    #[must_use]
    pub fn inbox(&self) -> (usize, usize) {
        (self.loopback.inbox().len(), self.loopback.inbox().capacity())
    }

    /// Relid and connection id of the video channel, if the guest has opened it once.
    #[must_use]
    pub fn video_channel(&self) -> Option<(ChannelId, ConnectionId)> {
        self.channel.as_ref().map(|channel| (channel.offer.channel, channel.offer.connection))
    }

    /// Boots a well-behaved guest, whatever the one before it left: fresh SynIC pages, contact, offers, rings, handshake.
    /// Afterwards the host wants DIRT.
    ///
    /// # Errors
    /// The host does not do its part.
    pub fn boot(&mut self) -> Result<()> {
        self.channel = None;
        self.vsc.reset();
        self.take_over_synic()?;
        let mut client = Client::new(ClientConfig::default());
        client.connect();
        for _ in 0..ROUNDS {
            self.serve_control(&mut client)?;
            self.serve_channel()?;
            for _ in 0..HOST_TURNS {
                self.host_turn();
            }
            if self.vsc.is_dirt_wanted() && self.channel.is_some() {
                return Ok(());
            }
            self.wait(ROUND_NS);
        }
        bail!(
            "no handshake in {ROUNDS} rounds: VMBus version {:?}, channel open: {}, video mode {:?}, ready: {}",
            client.version(),
            self.channel.is_some(),
            self.vsc.mode(),
            self.vsc.is_ready()
        )
    }

    /// Declares `rects` and rings the doorbell; the host has not looked yet.
    ///
    /// # Errors
    /// The ring is full or damaged, or the host does not want DIRT.
    pub fn send_dirt(&mut self, rects: &[Rect]) -> Result<()> {
        let mut message = [0; 8192];
        let len = self.vsc.dirt(rects, &mut message).context("no DIRT is wanted")?;
        self.send(message.get(..len).unwrap_or_default())
    }

    /// Sends one video message in a pipe frame and rings the doorbell if the ring was empty.
    ///
    /// # Errors
    /// The ring is full or damaged, or the channel is not open.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        let channel = self.channel.as_mut().context("the channel is not open")?;
        let header = pipe::header(message.len())?;
        let sent = channel.outgoing.write(&OutPacket::in_band(&[&header, message]))?;
        if sent.signal {
            self.cpu.signal(channel.offer.connection.0);
        }
        Ok(())
    }

    /// Puts `packet`, descriptor and all, where the guest's next packet goes, and rings. Nothing is checked: what does not
    /// fit overwrites what is there.
    pub fn send_raw(&mut self, packet: &[u8]) {
        let Some(channel) = &self.channel else { return };
        let ring = channel.outgoing.memory();
        let data_len = ring.data_len();
        let mut at = (ring.load(HeaderField::WriteIndex) % data_len) & !7;
        for word in packet.chunks(8) {
            let mut padded = [0; 8];
            padded.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
            ring.write(at, &padded);
            at = (at + 8) % data_len;
        }
        ring.store(HeaderField::WriteIndex, at);
        self.cpu.signal(channel.offer.connection.0);
    }

    /// Writes a pixel of the screen, as 0x00RRGGBB.
    ///
    /// # Errors
    /// It is not in VRAM.
    pub fn draw(&self, x: u32, y: u32, colour: u32) -> Result<()> {
        let size = self.vsc.mode().size();
        ensure!(x < size.width && y < size.height, "({x}, {y}) is off the screen");
        let offset = (u64::from(y) * u64::from(size.width) + u64::from(x)) * 4;
        Ok(self.memory.ram().write_slice(&colour.to_le_bytes(), GuestAddress(VRAM_GPA + offset))?)
    }

    /// Lets time pass.
    pub fn wait(&self, ns: u64) {
        self.clock.advance_to(self.clock.now_ns().saturating_add(ns));
    }

    fn follow_doorbells(&mut self) {
        while let Some(change) = self.bus.poll_doorbell_change() {
            match change {
                DoorbellChange::Opened(channel, _) => self.open.insert(channel),
                DoorbellChange::Closed(channel) => self.open.remove(&channel),
            };
        }
    }

    /// Presses the reset button.
    pub fn reset(&mut self) {
        self.loopback.synic().reset();
        self.bus.reset();
        self.channel = None;
    }

    /// Zeroed pages, registers as Linux writes them, and nothing left of what was sent to the guest before.
    fn take_over_synic(&mut self) -> Result<()> {
        if self.cpu.read_msr(VP, msr::HYPERCALL)? & HYPERCALL_LOCKED != 0 {
            self.reset();
        }
        let pages = self.cpu.pages();
        for vp in 0..VPS {
            for gpa in [pages.simp_gpa(vp), pages.siefp_gpa(vp)] {
                self.memory.ram().write_slice(&EMPTY_PAGE, GuestAddress(gpa))?;
            }
        }
        self.cpu.enable()?;
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            self.host_turn();
            let mut taken = false;
            for vp in 0..VPS {
                for sint in (0..16).filter_map(Sint::new) {
                    taken |= self.cpu.take_message(vp, sint)?.is_some();
                    taken |= !self.cpu.take_flags(vp, sint)?.is_empty();
                }
            }
            quiet = if taken { 0 } else { quiet + 1 };
            if quiet > 2 {
                return Ok(());
            }
            self.wait(ROUND_NS);
        }
        bail!("the host never stops sending to a guest that has not made contact")
    }

    fn serve_control(&mut self, client: &mut Client) -> Result<()> {
        while let Some(message) = self.cpu.take_message(VP, Sint::VMBUS)? {
            client.receive(&message.payload)?;
        }
        while let Some(action) = client.poll_action() {
            self.act(client, action)?;
        }
        Ok(())
    }

    fn act(&mut self, client: &mut Client, action: ClientAction) -> Result<()> {
        match action {
            ClientAction::Post { connection, message } => self.post(connection, &message)?,
            ClientAction::Contacted(_) => client.request_offers()?,
            ClientAction::Offered(offer) => {
                let gpns: Vec<u64> = (0..2 * RING_PAGES).map(|page| RING_GPA / PAGE + page).collect();
                client.create_gpadl(offer.channel, &gpns)?;
            }
            ClientAction::GpadlCreated { gpadl, ok } => {
                ensure!(ok, "the host refuses GPADL {gpadl}");
                let offer = *client.offers().next().context("a GPADL without an offer")?;
                self.channel = Some(self.make_rings(offer)?);
                let pages = u32::try_from(RING_PAGES)?;
                client.open(offer.channel, gpadl, pages, VP)?;
            }
            ClientAction::Opened { ok, .. } => {
                ensure!(ok, "the host refuses to open the channel");
                self.vsc.start();
            }
            ClientAction::Refused => bail!("the host refuses every version"),
            _ => {}
        }
        Ok(())
    }

    /// Posts, and waits as Linux does while the host has no room.
    fn post(&mut self, connection: ConnectionId, message: &[u8]) -> Result<()> {
        for _ in 0..ROUNDS {
            let status = self.cpu.post(connection.0, message)?;
            if status == Status::Success as u16 {
                return Ok(());
            }
            ensure!(status == Status::InsufficientBuffers as u16, "a message ends with status {status:#x}");
            self.host_turn();
            self.wait(ROUND_NS);
        }
        bail!("the host never has room for a message")
    }

    fn make_rings(&self, offer: Offer) -> Result<Channel> {
        let ring = |first: u64| -> Result<GuestRing> {
            let gpns: Vec<u64> = (first..first + RING_PAGES).map(|page| RING_GPA / PAGE + page).collect();
            let header = GuestAddress(RING_GPA + first * PAGE);
            self.memory.ram().write_slice(&EMPTY_PAGE, header)?;
            let ring = GpadlRing::new((**self.memory.ram()).clone(), &gpns)?;
            ring.store(HeaderField::Features, 1);
            Ok(ring)
        };
        Ok(Channel {
            offer,
            outgoing: OutRing::open(ring(0)?)?.with_max_packet(17 << 10),
            incoming: InRing::open(ring(RING_PAGES)?)?,
        })
    }

    /// Takes the host's video messages and sends the driver's.
    fn serve_channel(&mut self) -> Result<()> {
        self.cpu.take_flags(VP, Sint::VMBUS)?;
        let Some(channel) = &mut self.channel else { return Ok(()) };
        let mut buffer = [0; 4096];
        let mut drain = channel.incoming.drain(DrainLimits::NONE);
        while let Some(packet) = drain.next_packet(&mut buffer)? {
            self.vsc.receive(pipe::unframe(packet.payload)?)?;
        }
        if drain.finish().signal_producer {
            self.cpu.signal(channel.offer.connection.0);
        }
        let mut message = [0; 256];
        while let Some(len) = self.vsc.poll_transmit(&mut message) {
            self.send(message.get(..len).unwrap_or_default())?;
        }
        Ok(())
    }
}
