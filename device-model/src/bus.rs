//! The bus: one guest's VMBus server, the devices behind its offers, and their open channels.
//!
//! The bus is the only place where the control plane, guest memory and the SynIC meet. It owns no thread and waits
//! for nothing: whoever owns it calls [`Bus::process_inbox`] when the guest posted a message,
//! [`Bus::process_doorbell`] when it rang, and [`Bus::tick`] when [`Bus::deadline_ns`] has come.
//! [`crate::BusSubscriber`] does so on an event-manager loop, a simulated guest does so step by step.

mod rescind;

use std::any::Any;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use synic::{Doorbells, GuestSignal, Inbox, SignalError};
use vm_memory::GuestMemory;
use vmbus::server::{OfferError, OpenRequest, Server, ServerAction, ServerConfig};
use vmbus::{ChannelId, ConnectionId};
use vmm_sys_util::eventfd::EventFd;

use crate::channel::{ChannelDevice, DeviceContext};
use crate::clock::Clock;
use crate::log_limit::LogLimit;
use crate::observer::{ControlEvent, FaultEvent, FaultLayer, Observer};
use crate::open_channel::{OpenChannel, OpenError, TURN_NS, Turn};

/// What a bus is built from; the VMM supplies all of it.
pub struct BusParts<M> {
    /// Guest RAM.
    pub memory: M,
    /// Host to guest.
    pub signal: Arc<dyn GuestSignal>,
    /// Guest to host: an eventfd for each connection.
    pub doorbells: Arc<dyn Doorbells>,
    /// Guest to host: messages.
    pub inbox: Arc<Inbox>,
    /// Time.
    pub clock: Box<dyn Clock>,
}

/// A doorbell that began or ceased to matter; see [`Bus::poll_doorbell_change`].
#[derive(Debug)]
pub enum DoorbellChange {
    /// Call [`Bus::process_doorbell`] when this eventfd becomes readable.
    Opened(ChannelId, Arc<EventFd>),
    /// Forget the channel's eventfd.
    Closed(ChannelId),
}

struct Slot<M> {
    /// Under which relid the guest knows the device; none once it has let go of a rescinded one.
    channel: Option<ChannelId>,
    /// The relid of a new offer, which the guest hears of when it has let go of the rescinded one.
    next: Option<ChannelId>,
    /// The channel was taken away, and its device has something left that the guest may still use.
    withdrawn: bool,
    device: Box<dyn ChannelDevice>,
    open: Option<OpenChannel<M>>,
}

/// One guest's VMBus with its devices.
pub struct Bus<M, O> {
    server: Server,
    parts: BusParts<M>,
    slots: Vec<Slot<M>>,
    observer: O,
    changes: VecDeque<DoorbellChange>,
    /// A message that the SynIC had no room for; nothing overtakes it.
    unposted: Option<ServerAction>,
    log: LogLimit,
}

impl<M: GuestMemory + Clone, O: Observer> Bus<M, O> {
    /// A bus without devices.
    pub fn new(parts: BusParts<M>, config: ServerConfig, observer: O) -> Self {
        Self {
            server: Server::new(config),
            parts,
            slots: Vec::new(),
            observer,
            changes: VecDeque::new(),
            unposted: None,
            log: LogLimit::new(),
        }
    }

    /// Offers a device.
    ///
    /// *Errors*: [`OfferError`], if the device is on offer already or the table is full.
    pub fn add_device(&mut self, device: Box<dyn ChannelDevice>) -> Result<ChannelId, OfferError> {
        let channel = self.server.offer(device.offer())?;
        self.slots.push(Slot { channel: Some(channel), next: None, withdrawn: false, device, open: None });
        self.carry_out();
        Ok(channel)
    }

    /// The first device of type `D`.
    pub fn device<D: ChannelDevice>(&self) -> Option<&D> {
        self.slots.iter().find_map(|slot| (&*slot.device as &dyn Any).downcast_ref())
    }

    /// The first device of type `D`, to change something. Call [`Bus::tick`] afterwards, so that what it has to
    /// say reaches the guest.
    pub fn device_mut<D: ChannelDevice>(&mut self) -> Option<&mut D> {
        self.slots.iter_mut().find_map(|slot| (&mut *slot.device as &mut dyn Any).downcast_mut())
    }

    /// Whoever watches.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Time of the bus's clock.
    pub fn now_ns(&self) -> u64 {
        self.parts.clock.now_ns()
    }

    /// Descriptor of the inbox's eventfd; [`Bus::process_inbox`] reads it.
    pub fn inbox_fd(&self) -> RawFd {
        self.parts.inbox.fd().as_raw_fd()
    }

    /// The next doorbell to watch, or to watch no longer. The answer may change after every call that takes
    /// `&mut self`; poll until `None`.
    pub fn poll_doorbell_change(&mut self) -> Option<DoorbellChange> {
        self.changes.pop_front()
    }

    /// Whether [`Bus::poll_doorbell_change`] has something to say.
    pub fn doorbells_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes the messages that the guest posted.
    pub fn process_inbox(&mut self) {
        // Read first: a message that comes later rings again. An empty counter is no error.
        let _ = self.parts.inbox.fd().read();
        // One inbox full a turn, and not for long, since a close may cost the kernel milliseconds: a guest that posts
        // without end must not keep its own doorbells waiting.
        let over_ns = self.now_ns().saturating_add(TURN_NS);
        for _ in 0..self.parts.inbox.capacity() {
            if self.now_ns() >= over_ns {
                break;
            }
            if self.unposted.is_some() || !self.server.can_receive() {
                return;
            }
            let Some(message) = self.parts.inbox.pop() else { return };
            let connection = ConnectionId(message.connection_id);
            let name = vmbus::message::split(&message.payload).map_or("?", |(kind, _)| kind.name());
            tracing::debug!(%connection, bytes = message.payload.len(), "guest posts {name}");
            if let Err(fault) = self.server.receive(connection, &message.payload) {
                self.report(None, FaultLayer::Control, fault.to_string(), false);
            }
            self.carry_out();
        }
        if !self.parts.inbox.is_empty() {
            // An overflowing counter is as readable as any other.
            let _ = self.parts.inbox.fd().write(1);
        }
    }

    /// Looks into the ring of `channel`, whose doorbell rang. Harmless if the channel is closed.
    pub fn process_doorbell(&mut self, channel: ChannelId) {
        let now_ns = self.now_ns();
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.channel == Some(channel)) else { return };
        let Some(open) = &mut slot.open else { return };
        let rings = open.take_rings();
        if rings > 0 {
            self.observer.doorbell(now_ns, channel, rings);
        }
        self.serve(channel, now_ns);
    }

    /// Looks into the rings of all open channels, as if each doorbell had rung.
    pub fn process_doorbells(&mut self) {
        for index in 0..self.slots.len() {
            if let Some(channel) = self.slots.get(index).and_then(|slot| slot.channel) {
                self.process_doorbell(channel);
            }
        }
    }

    /// Does what is due: timers of devices and of the observer, packets that devices have for the guest, messages that
    /// wait for a slot.
    pub fn tick(&mut self) {
        let now_ns = self.now_ns();
        for index in 0..self.slots.len() {
            let Self { slots, observer, parts, .. } = self;
            let Some(slot) = slots.get_mut(index).filter(|slot| slot.open.is_some()) else { continue };
            let Some(channel) = slot.channel else { continue };
            let stalled = slot.device.stalled_until_ns().is_some();
            if slot.device.deadline_ns().is_some_and(|due| now_ns >= due) {
                slot.device.tick(&mut DeviceContext {
                    channel,
                    now_ns,
                    doorbell_ns: now_ns,
                    clock: &*parts.clock,
                    observer,
                });
            }
            let over = slot.device.stalled_until_ns().is_none();
            if stalled && over {
                // The guest need not ring again for a ring that was not empty.
                self.serve(channel, now_ns);
            }
            self.transmit(channel);
        }
        if self.observer.deadline_ns().is_some_and(|due| now_ns >= due) {
            self.observer.tick(now_ns);
        }
        self.retry_messages();
    }

    /// When to call [`Bus::tick`] next; the answer may change after every call that takes `&mut self`.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.slots
            .iter()
            .filter(|slot| slot.open.is_some())
            .filter_map(|slot| slot.device.deadline_ns())
            .chain(self.observer.deadline_ns())
            .min()
    }

    /// Tries again to deliver messages that wait for a slot; true while some still do. Call it when the guest may
    /// have freed a slot, and every few milliseconds while it returns true.
    pub fn retry_messages(&mut self) -> bool {
        let waiting = self.parts.signal.retry();
        if self.unposted.is_some() {
            self.carry_out();
            if self.unposted.is_none() {
                self.process_inbox();
            }
        }
        waiting || self.unposted.is_some()
    }

    /// Forgets the guest, as at a reset of the machine: channels close, offers stay.
    pub fn reset(&mut self) {
        self.unposted = None;
        self.parts.inbox.clear();
        self.server.reset();
        self.carry_out();
    }

    /// Does what the control plane asks for, in its order, until it has nothing more or the SynIC is full.
    fn carry_out(&mut self) {
        while let Some(action) = self.unposted.take().or_else(|| self.server.poll_action()) {
            let now_ns = self.now_ns();
            tracing::trace!(?action);
            match action {
                ServerAction::Post { vp, sint, message } => {
                    match self.parts.signal.post_message(vp, sint, &message) {
                        Ok(()) => {}
                        Err(SignalError::QueueFull { .. }) => {
                            self.unposted = Some(ServerAction::Post { vp, sint, message });
                            return;
                        }
                        Err(error) => {
                            let text = format!("message for the guest is lost: {error}");
                            self.report(None, FaultLayer::Control, text, false);
                        }
                    }
                }
                ServerAction::DropMessages => self.parts.signal.reset_messages(),
                ServerAction::Open(request) => self.open(&request),
                ServerAction::Close(channel) => {
                    self.close(channel);
                    self.server.close_complete(channel);
                }
                ServerAction::Retarget { channel, target_vp } => {
                    if let Some(open) = self.slot_mut(channel).and_then(|slot| slot.open.as_mut()) {
                        open.retarget(target_vp);
                    }
                }
                ServerAction::Contacted { version } => {
                    self.observer.control(now_ns, &ControlEvent::Contacted { version: version.wire() });
                }
                ServerAction::Unloaded => self.observer.control(now_ns, &ControlEvent::Unloaded),
                ServerAction::Released(channel) => self.released(channel),
            }
        }
    }

    fn open(&mut self, request: &OpenRequest) {
        let channel = request.channel;
        let opened = OpenChannel::open(request, &self.parts.memory, &*self.parts.doorbells);
        let ok = opened.is_ok();
        match opened {
            Ok(open) => {
                self.changes.push_back(DoorbellChange::Opened(channel, open.doorbell()));
                if let Some(slot) = self.slot_mut(channel) {
                    slot.open = Some(open);
                }
                self.with_device(channel, |device, context| device.opened(context));
                let now_ns = self.now_ns();
                self.observer.control(now_ns, &ControlEvent::Opened(channel));
            }
            Err(OpenError::Guest(fault)) => self.report(Some(channel), FaultLayer::Ring, fault, false),
            Err(OpenError::Host(error)) => tracing::error!("channel {channel} cannot be opened: {error}"),
        }
        self.server.open_complete(channel, ok);
    }

    /// Stops the device and lets go of the rings. The control plane is told by the caller, if it asked.
    fn close(&mut self, channel: ChannelId) {
        let Some(open) = self.slot_mut(channel).and_then(|slot| slot.open.take()) else { return };
        open.close(&*self.parts.doorbells);
        self.changes.push_back(DoorbellChange::Closed(channel));
        if self.server.is_rescinded(channel) {
            if let Some(slot) = self.slot_mut(channel) {
                slot.withdrawn = true;
            }
            self.with_device(channel, |device, context| device.withdrawn(context));
        } else {
            self.with_device(channel, |device, context| device.closed(context));
        }
        let now_ns = self.now_ns();
        self.observer.control(now_ns, &ControlEvent::Closed(channel));
    }

    /// Hands the guest's packets to the device, and the device's to the guest.
    fn serve(&mut self, channel: ChannelId, doorbell_ns: u64) {
        let now_ns = self.now_ns();
        let Self { slots, observer, parts, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.channel == Some(channel)) else { return };
        let Slot { device, open: Some(open), .. } = slot else { return };
        // Before anything is taken out, which makes room.
        if device.expected_packet_bytes().is_some_and(|bytes| !open.has_room_for(bytes)) {
            observer.ring_full(now_ns, channel);
        }
        if device.stalled_until_ns().is_some_and(|until| now_ns < until) {
            return;
        }
        let mut ignored = Vec::new();
        let turn = open.receive(&*parts.signal, &*parts.clock, |payload| {
            observer.packet(now_ns, channel, payload.len());
            let mut context = DeviceContext {
                channel,
                now_ns,
                doorbell_ns,
                clock: &*parts.clock,
                observer: &mut *observer,
            };
            match device.receive(payload, &mut context) {
                Err(fault) if !fault.is_fatal() => {
                    ignored.push(fault);
                    Ok(())
                }
                other => other,
            }
        });
        for fault in ignored {
            self.report(Some(channel), FaultLayer::Device, fault.to_string(), false);
        }
        match turn {
            Turn::Done => self.transmit(channel),
            Turn::Fault { layer, text } => self.fail(channel, layer, text),
        }
    }

    /// Moves what the device has for the guest into its ring.
    fn transmit(&mut self, channel: ChannelId) {
        let Self { slots, parts, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.channel == Some(channel)) else { return };
        let Slot { device, open: Some(open), .. } = slot else { return };
        if let Turn::Fault { layer, text } =
            open.transmit(&*parts.signal, |buffer| device.poll_transmit(buffer))
        {
            self.fail(channel, layer, text);
        }
    }

    /// Closes a channel whose guest cannot be trusted any more. The guest's CLOSECHANNEL will find it closed.
    fn fail(&mut self, channel: ChannelId, layer: FaultLayer, text: String) {
        self.report(Some(channel), layer, text, true);
        self.close(channel);
    }

    fn report(&mut self, channel: Option<ChannelId>, layer: FaultLayer, text: String, closed: bool) {
        let now_ns = self.now_ns();
        if let Some(suppressed) = self.log.admit(now_ns) {
            let place = channel.map_or_else(|| "control".to_owned(), |channel| format!("channel {channel}"));
            tracing::warn!(suppressed, closed, "fault of the guest, {place}: {text}");
        }
        self.observer.fault(now_ns, &FaultEvent { channel, layer, text, closed });
    }

    fn with_device(
        &mut self,
        channel: ChannelId,
        act: impl FnOnce(&mut dyn ChannelDevice, &mut DeviceContext<'_>),
    ) {
        let now_ns = self.now_ns();
        let Self { slots, observer, parts, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.channel == Some(channel)) else { return };
        let mut context =
            DeviceContext { channel, now_ns, doorbell_ns: now_ns, clock: &*parts.clock, observer };
        act(&mut *slot.device, &mut context);
    }

    fn slot_mut(&mut self, channel: ChannelId) -> Option<&mut Slot<M>> {
        self.slots.iter_mut().find(|slot| slot.channel == Some(channel))
    }
}
