//! The least that a host must do: control plane, one video channel, one surface.

use std::sync::Arc;

use surface::{Surface, VramBytes, VramMapper};
use synic::{Doorbells, GuestSignal};
use synthvid::{
    DirtVerdict, Features, Mode, ModeList, ProtocolFault, Rect, Situation, Vsp, VspAction, VspConfig,
};
use vmbus::ring::{DrainLimits, InRing, OutPacket, OutRing};
use vmbus::server::{ControlFault, OfferParams, OpenRequest, PipeMode, Server, ServerAction, ServerConfig};
use vmbus::{ChannelId, ConnectionId, Guid, Version, pipe};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::ring_memory::GuestRing;
use crate::{SimGuest, SimVramMapper};

const VIDEO: Guid = Guid::from_u128(0xda0a_7802_e377_4aac_8e77_0558_eb10_73f8);

/// What a test can say about its host.
pub(super) struct HostConfig {
    pub(super) mode: Mode,
    pub(super) megabytes: u16,
    pub(super) max_version: Version,
    pub(super) synthvid: synthvid::VersionSet,
    /// Said after each situation.
    pub(super) features: Option<Features>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            mode: Mode::new(1024, 768),
            megabytes: 8,
            max_version: Version::LATEST,
            synthvid: synthvid::VersionSet::ALL,
            features: Some(Features::DIRT),
        }
    }
}

struct Open {
    request: OpenRequest,
    incoming: InRing<GuestRing>,
    outgoing: OutRing<GuestRing>,
    doorbell: EventFd,
}

pub(super) struct Host {
    config: HostConfig,
    server: Server,
    vsp: Box<Vsp>,
    mapper: SimVramMapper,
    vram: Option<Arc<dyn VramBytes>>,
    open: Option<Open>,
    told: Option<Features>,
    /// Still reads nothing from the ring while it is set.
    pub(super) asleep: bool,
    pub(super) surface: Surface,
    /// Time and first rectangle of each DIRT.
    pub(super) dirt: Vec<(u64, Rect)>,
    pub(super) situations: Vec<Situation>,
    pub(super) control_faults: Vec<ControlFault>,
    /// Faults that closed the channel, in words.
    pub(super) channel_faults: Vec<String>,
    pub(super) unloaded: bool,
}

impl Host {
    pub(super) fn new(guest: &SimGuest, config: HostConfig) -> Self {
        let mut server =
            Server::new(ServerConfig { max_version: config.max_version, ..ServerConfig::default() });
        let offer = OfferParams {
            interface_type: VIDEO,
            instance: Guid::from_u128(1),
            pipe: PipeMode::Message,
            mmio_megabytes: config.megabytes,
        };
        server.offer(offer).expect("room for an offer");
        let modes = ModeList::single(config.mode).expect("a mode");
        let vsp = VspConfig {
            versions: config.synthvid,
            ..VspConfig::new(modes, u64::from(config.megabytes) << 20)
        };
        Self {
            server,
            vsp: Box::new(Vsp::new(vsp)),
            mapper: guest.vram_mapper(),
            vram: None,
            open: None,
            told: None,
            asleep: false,
            surface: Surface::new(),
            dirt: Vec::new(),
            situations: Vec::new(),
            control_faults: Vec::new(),
            channel_faults: Vec::new(),
            unloaded: false,
            config,
        }
    }

    /// Says what it wants, now and from now on.
    pub(super) fn want(&mut self, features: Features) {
        self.config.features = Some(features);
        self.vsp.want(features);
    }

    /// Does what there is to do; true if there was anything.
    pub(super) fn step(&mut self, guest: &SimGuest, now_ns: u64) -> bool {
        let mut worked = false;
        while let Some(message) = guest.loopback().inbox().pop() {
            worked = true;
            let received = self.server.receive(ConnectionId(message.connection_id), &message.payload);
            self.control_faults.extend(received.err());
            self.carry_out(guest);
        }
        let rang = self.open.as_ref().is_some_and(|open| !self.asleep && open.doorbell.read().is_ok());
        if rang {
            worked = true;
            self.serve(guest, now_ns);
        }
        worked | self.transmit(guest)
    }

    fn carry_out(&mut self, guest: &SimGuest) {
        let synic = guest.loopback().synic();
        while let Some(action) = self.server.poll_action() {
            match action {
                ServerAction::Post { vp, sint, message } => {
                    synic.post_message(vp, sint, &message).expect("a message slot");
                }
                ServerAction::DropMessages => synic.reset_messages(),
                ServerAction::Open(request) => {
                    let channel = request.channel;
                    let opened = self.open(guest, request);
                    self.server.open_complete(channel, opened.is_some());
                }
                ServerAction::Close(channel) => {
                    self.close(guest);
                    self.server.close_complete(channel);
                }
                ServerAction::Unloaded => self.unloaded = true,
                ServerAction::Retarget { .. }
                | ServerAction::Contacted { .. }
                | ServerAction::Released(_) => {}
            }
        }
    }

    fn open(&mut self, guest: &SimGuest, request: OpenRequest) -> Option<()> {
        let ring = |gpns: &[u64]| GuestRing::new(guest.memory().ram().clone(), gpns);
        let incoming = InRing::open(ring(request.incoming_gpns())?).ok()?;
        let outgoing = OutRing::open(ring(request.outgoing_gpns())?).ok()?;
        let doorbell = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        guest.loopback().synic().register(request.connection_id.0, &doorbell).expect("a free connection");
        self.open = Some(Open { request, incoming, outgoing, doorbell });
        Some(())
    }

    fn close(&mut self, guest: &SimGuest) {
        let Some(open) = self.open.take() else { return };
        let synic = guest.loopback().synic();
        synic.unregister(open.request.connection_id.0, &open.doorbell).expect("a doorbell");
        self.vsp.reset();
        self.mapper.unmap();
        self.vram = None;
        self.told = None;
    }

    fn serve(&mut self, guest: &SimGuest, now_ns: u64) {
        let Some(mut open) = self.open.take() else { return };
        let outcome = self.drain(&mut open.incoming, now_ns);
        self.open = Some(open);
        if let Err(fault) = outcome {
            self.channel_faults.push(fault);
            self.close(guest);
        }
    }

    /// Whether the guest's ring takes another DIRT of one rectangle.
    pub(super) fn has_room_for_dirt(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.incoming.has_room_for(34))
    }

    fn drain(&mut self, ring: &mut InRing<GuestRing>, now_ns: u64) -> Result<(), String> {
        let mut buf = vec![0; pipe::HEADER_SIZE + pipe::MAX_MESSAGE];
        let mut drain = ring.drain(DrainLimits::NONE);
        while let Some(packet) = drain.next_packet(&mut buf).map_err(|fault| fault.to_string())? {
            let message = pipe::unframe(packet.payload).map_err(|fault| fault.to_string())?;
            self.receive(message, now_ns).map_err(|fault| fault.to_string())?;
        }
        let _ = drain.finish();
        Ok(())
    }

    fn receive(&mut self, message: &[u8], now_ns: u64) -> Result<(), ProtocolFault> {
        let bounds = self.vsp.situation().map_or(Rect::EMPTY, Situation::bounds);
        match self.vsp.receive(message)? {
            Some(VspAction::MapVram { gpa, bytes, .. }) => {
                self.vram = self.mapper.map(gpa, bytes).ok();
                self.vsp.vram_mapped(self.vram.is_some());
            }
            Some(VspAction::Situation(situation)) => {
                self.situations.push(situation);
                self.surface.resize(synthvid::Size::new(situation.width, situation.height));
                if self.told != self.config.features
                    && let Some(features) = self.config.features
                {
                    self.told = Some(features);
                    self.vsp.want(features);
                }
            }
            Some(VspAction::Dirt(rects)) => {
                for rect in rects {
                    self.dirt.push((now_ns, rect));
                    let (Some(rect), Some(vram), Some(situation)) =
                        (DirtVerdict::of(rect, bounds).accepted(), &self.vram, self.situations.last())
                    else {
                        continue;
                    };
                    self.surface.apply(&**vram, situation, rect).expect("VRAM holds the screen");
                }
            }
            Some(VspAction::Version { .. } | VspAction::PointerPosition(_) | VspAction::PointerShape(_))
            | None => {}
        }
        Ok(())
    }

    fn transmit(&mut self, guest: &SimGuest) -> bool {
        let Some(open) = &mut self.open else { return false };
        let (mut buf, mut worked) = ([0; 4096], false);
        while let Some(len) = self.vsp.poll_transmit(&mut buf) {
            worked = true;
            let message = &buf[..len];
            let header = pipe::header(len).expect("a short message");
            let sent =
                open.outgoing.write(&OutPacket::in_band(&[&header, message])).expect("room in the ring");
            if sent.signal {
                let OpenRequest { target_vp, sint, event_flag, .. } = open.request;
                let synic = guest.loopback().synic();
                synic.signal_event(target_vp, sint, event_flag).expect("an event flags page");
            }
        }
        worked
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some() && self.server.is_open(ChannelId(1))
    }
}
