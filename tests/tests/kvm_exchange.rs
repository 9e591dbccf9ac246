//! A whole VMBus exchange over real KVM: contact, offers, GPADL, open, packets both ways, close, unload.
//!
//! The host side is what the program uses: back end, bus, a channel device. On the guest side the CPU makes the
//! hypercalls, takes the interrupts and works the message slots and event flags; the decisions are
//! `vmbus::client`'s and the rings are written by this test, in guest memory. So this proves the plumbing
//! under a bus on KVM, not the behaviour of a Linux guest.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use device_model::ring_memory::GpadlRing;
use device_model::{
    Bus, BusParts, ChannelDevice, DeviceContext, DeviceFault, DoorbellChange, MonotonicClock, NoObserver,
};
use hv_abi::hypercall::Status;
use hv_kvm::SynicMode;
use tests::bare_metal::BareMetal;
use vm_memory::GuestMemoryMmap;
use vmbus::client::{Client, ClientAction, ClientConfig, Offer};
use vmbus::ring::{DrainLimits, InRing, OutPacket, OutRing};
use vmbus::server::{OfferParams, PipeMode, ServerConfig};
use vmbus::{ChannelId, Guid, Version};
use vmm_sys_util::eventfd::EventFd;

/// First page of the rings: 4 MiB, clear of everything that the bare-metal guest uses.
const RING_GPN: u64 = 0x400;
/// Pages of each ring, header included. Both together take more page numbers than one message holds.
const RING_PAGES: u32 = 16;
/// Rounds in which guest and host may keep each other busy before they are taken for stuck.
const ROUNDS: usize = 64;

/// Sends every packet back, reversed.
#[derive(Default)]
struct Mirror(VecDeque<Vec<u8>>);

impl ChannelDevice for Mirror {
    fn offer(&self) -> OfferParams {
        OfferParams {
            interface_type: Guid::from_u128(0x7a3c_11e0_5b0d_4d53_9f10_0d1c_2b3a_4958),
            instance: Guid::from_u128(1),
            pipe: PipeMode::Raw,
            mmio_megabytes: 0,
        }
    }

    fn opened(&mut self, _context: &mut DeviceContext<'_>) {}

    fn receive(&mut self, payload: &[u8], _context: &mut DeviceContext<'_>) -> Result<(), DeviceFault> {
        self.0.push_back(payload.iter().rev().copied().collect());
        Ok(())
    }

    fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let packet = self.0.pop_front()?;
        buffer[..packet.len()].copy_from_slice(&packet);
        Some(packet.len())
    }

    fn closed(&mut self, _context: &mut DeviceContext<'_>) {
        self.0.clear();
    }

    fn tick(&mut self, _context: &mut DeviceContext<'_>) {}

    fn deadline_ns(&self) -> Option<u64> {
        None
    }
}

/// Guest and host, in turns on one thread.
struct Exchange {
    guest: BareMetal,
    client: Client,
    bus: Bus<GuestMemoryMmap, NoObserver>,
    doorbells: Vec<(ChannelId, Arc<EventFd>)>,
}

impl Exchange {
    fn new(mode: SynicMode) -> Result<Option<Self>> {
        let Some(mut guest) = BareMetal::new(mode, 2)? else { return Ok(None) };
        guest.enable_synic()?;
        let synic = guest.synic();
        let parts = BusParts {
            memory: guest.memory().clone(),
            signal: synic.signal(),
            doorbells: synic.doorbells(),
            inbox: synic.inbox(),
            clock: Box::new(MonotonicClock::default()),
        };
        let config = ServerConfig { vp_count: 2, ..Default::default() };
        let mut bus = Bus::new(parts, config, NoObserver);
        bus.add_device(Box::<Mirror>::default())?;
        let client = Client::new(ClientConfig::default());
        Ok(Some(Self { guest, client, bus, doorbells: Vec::new() }))
    }

    /// Runs both sides until neither has anything to do; what the guest's client reports.
    fn pump(&mut self) -> Result<Vec<ClientAction>> {
        let mut reported = Vec::new();
        for _ in 0..ROUNDS {
            let mut idle = true;
            while let Some(action) = self.client.poll_action() {
                idle = false;
                match action {
                    ClientAction::Post { connection, message } => {
                        let status = self.guest.post(0, connection.0, &message)?;
                        ensure!(status == 0, "post to {connection:?} ends with status {status:#x}");
                    }
                    action => reported.push(action),
                }
            }
            self.host_turn();
            self.guest.settle()?;
            while let Some((message, _)) = self.guest.take_message(0)? {
                idle = false;
                self.client.receive(&message)?;
                self.guest.settle()?;
            }
            if idle {
                return Ok(reported);
            }
        }
        bail!("still busy after {ROUNDS} rounds")
    }

    /// One turn of an event loop.
    fn host_turn(&mut self) {
        self.bus.process_inbox();
        while let Some(change) = self.bus.poll_doorbell_change() {
            match change {
                DoorbellChange::Opened(channel, fd) => self.doorbells.push((channel, fd)),
                DoorbellChange::Closed(channel) => self.doorbells.retain(|(known, _)| *known != channel),
            }
        }
        for (channel, fd) in &self.doorbells {
            if fd.read().is_ok() {
                self.bus.process_doorbell(*channel);
            }
        }
        self.bus.tick();
    }

    fn connect(&mut self) -> Result<Offer> {
        self.client.connect();
        ensure!(self.pump()? == [ClientAction::Contacted(Version::LATEST)], "contact");
        self.client.request_offers()?;
        match self.pump()?.as_slice() {
            [ClientAction::Offered(offer), ClientAction::OffersDelivered] => Ok(*offer),
            other => bail!("expected one offer, got {other:?}"),
        }
    }
}

fn exchange(mode: SynicMode) -> Result<()> {
    let Some(mut exchange) = Exchange::new(mode)? else { return Ok(()) };
    let offer = exchange.connect()?;

    let gpns: Vec<u64> = (RING_GPN..).take(2 * RING_PAGES as usize).collect();
    let (to_host, to_guest) = gpns.split_at(RING_PAGES as usize);
    let memory = exchange.guest.memory().clone();
    let gpadl = exchange.client.create_gpadl(offer.channel, &gpns)?;
    assert_eq!(exchange.pump()?, [ClientAction::GpadlCreated { gpadl, ok: true }]);
    let mut transmit = OutRing::open(GpadlRing::new(memory.clone(), to_host)?)?;
    let mut receive = InRing::open(GpadlRing::new(memory, to_guest)?)?;
    // Events of this channel shall go to the other VP than messages.
    exchange.client.open(offer.channel, gpadl, RING_PAGES, 1)?;
    assert_eq!(exchange.pump()?, [ClientAction::Opened { channel: offer.channel, ok: true }]);

    let before = exchange.guest.interrupts(1)?;
    for round in 0..3_u8 {
        let sent = transmit.write(&OutPacket::in_band(&[&[round, 1, 2, 3, 4, 5, 6, 7]]))?;
        ensure!(sent.signal, "the ring was empty, so the host wants to know");
        assert_eq!(exchange.guest.signal(0, offer.connection.0)?, 0);
        exchange.host_turn();
        let flag = u16::try_from(offer.channel.0)?;
        assert_eq!(exchange.guest.interrupts(1)?, before + u64::from(round) + 1);
        assert_eq!(exchange.guest.take_flags(1)?, [flag]);
        let mut buffer = [0; 64];
        let mut drain = receive.drain(DrainLimits::NONE);
        let packet = drain.next_packet(&mut buffer)?.context("the answer")?;
        assert_eq!(packet.payload, [7, 6, 5, 4, 3, 2, 1, round]);
        let drained = drain.finish();
        assert_eq!(drained.packets, 1);
    }
    assert_eq!(exchange.guest.synic().stats().snapshot().signal_user, 0, "no signal cost an exit");

    exchange.client.close(offer.channel)?;
    exchange.client.teardown(gpadl)?;
    assert_eq!(exchange.pump()?, [ClientAction::TornDown(gpadl)]);
    let status = exchange.guest.signal(0, offer.connection.0)?;
    assert_eq!(status, u64::from(Status::InvalidConnectionId as u16), "the doorbell went with the channel");

    exchange.client.unload()?;
    assert_eq!(exchange.pump()?, [ClientAction::Unloaded]);
    assert_eq!(exchange.connect()?.channel, offer.channel, "a second contact finds the same offer");
    Ok(())
}

#[test]
fn user_synic_carries_a_whole_exchange() -> Result<()> {
    exchange(SynicMode::User)
}

#[test]
fn kernel_synic_carries_a_whole_exchange() -> Result<()> {
    exchange(SynicMode::Kernel)
}
