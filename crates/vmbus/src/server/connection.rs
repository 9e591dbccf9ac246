//! Contact, version and unload.
//!
//! A contact voids everything before it: that is how a kexec kernel, or an operating system after its
//! firmware, starts over. Neither it nor UNLOAD is answered before the host has let go of every ring.

use hv_abi::sint;
use zerocopy::little_endian::{U16, U32};

use super::Server;
use super::actions::ServerAction;
use super::fault::ControlFault;
use crate::message::{
    self, ChannelMessage, InitiateContact, MessageType, Unload, UnloadResponse, VersionResponse,
};
use crate::version::{has_message_sint, message_connection};
use crate::{ChannelId, ConnectionId, Target, Version};

/// Whether there is a guest, and what it wants.
#[derive(Debug, Default)]
pub(super) enum Connection {
    #[default]
    Disconnected,
    /// Channels are being closed; then this.
    Disconnecting(After),
    Connected {
        version: Version,
        target: Target,
        offers_requested: bool,
    },
}

/// What happens once all channels are closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    /// The guest made contact; `None` refuses its version.
    Contact { target: Target, version: Option<Version> },
    /// The guest left, and waits for an answer there.
    Unload { target: Target },
    /// The VM was reset; nobody waits.
    Reset,
}

impl Connection {
    pub(super) const fn version(&self) -> Option<Version> {
        match self {
            Self::Connected { version, .. } => Some(*version),
            _ => None,
        }
    }

    pub(super) const fn target(&self) -> Option<Target> {
        match self {
            Self::Connected { target, .. } => Some(*target),
            _ => None,
        }
    }

    pub(super) const fn wants_offers(&self) -> bool {
        matches!(self, Self::Connected { offers_requested: true, .. })
    }

    /// Notes REQUESTOFFERS; false if it came before.
    pub(super) const fn request_offers(&mut self) -> bool {
        match self {
            Self::Connected { offers_requested, .. } => !core::mem::replace(offers_requested, true),
            _ => false,
        }
    }
}

impl Server {
    pub(super) fn initiate_contact(
        &mut self,
        connection: ConnectionId,
        body: &[u8],
    ) -> Result<(), ControlFault> {
        let (contact, _) = message::read::<InitiateContact>(body)?;
        let wire = contact.version.get();
        let vp = contact.target_vp.get();
        self.check_vp::<InitiateContact>(vp)?;
        let wanted_sint = if has_message_sint(wire) { contact.msg_sint() } else { sint::VMBUS };
        let sint_valid = check_sint(wanted_sint);
        let posted_well = check_posted_to(InitiateContact::TYPE, connection, message_connection(wire));
        let outcome = sint_valid.and(posted_well);
        // A guest that is not answered hangs, so even a wrong contact is refused where it can hear it.
        let sint = if sint_valid.is_ok() { wanted_sint } else { sint::VMBUS };
        let version = Version::from_wire(wire).filter(|version| outcome.is_ok() && self.accepts(*version));
        self.disconnect(After::Contact { target: Target { vp, sint }, version });
        outcome
    }

    pub(super) fn unload(&mut self, connection: ConnectionId) -> Result<(), ControlFault> {
        let target = match self.connection {
            Connection::Connected { target, .. } => {
                self.check_connection(Unload::TYPE, connection)?;
                target
            }
            // It did not wait for the answer to its contact, or to its first UNLOAD.
            Connection::Disconnecting(After::Contact { target, .. } | After::Unload { target }) => target,
            Connection::Disconnecting(After::Reset) | Connection::Disconnected => {
                return Err(ControlFault::NotConnected { kind: Unload::TYPE });
            }
        };
        self.disconnect(After::Unload { target });
        Ok(())
    }

    /// Whether `kind` may come from `connection` now.
    pub(super) fn check_connection(
        &self,
        kind: MessageType,
        connection: ConnectionId,
    ) -> Result<(), ControlFault> {
        let version = self.version().ok_or(ControlFault::NotConnected { kind })?;
        if kind.since() > version {
            return Err(ControlFault::NotInVersion { kind, version });
        }
        check_posted_to(kind, connection, version.message_connection())
    }

    /// Voids the connection; `after` follows when the last channel is closed, perhaps now.
    pub(super) fn disconnect(&mut self, after: After) {
        self.connection = Connection::Disconnecting(after);
        self.actions.drop_connection();
        for id in self.channel_ids() {
            if let Some(channel) = self.channels.find_mut(id) {
                channel.announced = false;
            }
            self.begin_close(id);
            self.release_if_forgotten(id);
        }
        self.finish_disconnect();
    }

    pub(super) fn finish_disconnect(&mut self) {
        let Connection::Disconnecting(after) = self.connection else { return };
        if self.channels.iter().any(|(_, channel)| !channel.is_closed()) {
            return;
        }
        self.gpadls.clear();
        self.connection = Connection::Disconnected;
        match after {
            After::Contact { target, version } => {
                let answer = VersionResponse {
                    supported: u8::from(version.is_some()),
                    connection_state: 0,
                    padding: U16::ZERO,
                    msg_connection_id: U32::new(version.map_or(0, |version| version.message_connection().0)),
                };
                self.actions.post(target, &answer);
                if let Some(version) = version {
                    self.connection = Connection::Connected { version, target, offers_requested: false };
                    self.actions.push(ServerAction::Contacted { version });
                }
            }
            After::Unload { target } => {
                self.actions.post(target, &UnloadResponse {});
                self.actions.push(ServerAction::Unloaded);
            }
            After::Reset => {}
        }
    }

    /// Posts to the connected guest; a message for a guest that is gone has no receiver.
    pub(super) fn post<M: ChannelMessage>(&mut self, body: &M) {
        if let Some(target) = self.target() {
            self.actions.post(target, body);
        }
    }

    fn accepts(&self, version: Version) -> bool {
        version <= self.config.max_version && self.config.versions.contains(&version)
    }

    fn channel_ids(&self) -> alloc::vec::Vec<ChannelId> {
        self.channels.iter().map(|(id, _)| id).collect()
    }
}

fn check_sint(sint: u8) -> Result<(), ControlFault> {
    if (1..sint::COUNT).contains(&usize::from(sint)) {
        Ok(())
    } else {
        Err(ControlFault::TargetSint { sint })
    }
}

fn check_posted_to(
    kind: MessageType,
    connection: ConnectionId,
    expected: ConnectionId,
) -> Result<(), ControlFault> {
    if connection == expected {
        Ok(())
    } else {
        Err(ControlFault::WrongConnection { kind, connection, expected })
    }
}
