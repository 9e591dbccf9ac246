//! The two 16550 UARTs: COM1 carries the console, COM2 the link to the program inside the guest.

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use super::agent_port::AgentPort;
use super::bus::{PortDevice, PowerRequest};
use super::error::MachineError;

/// Ports of COM1.
pub(super) const COM1_PORTS: RangeInclusive<u16> = 0x3f8..=0x3ff;
/// COM1's transmit register, whose writes KVM may note down while the guest does not wait for an interrupt that tells it of room for the
/// next one ([`SerialPort::on_waiting_for_room`]): a kernel that polls looks at another register before each letter and after the last.
/// Not so COM2: somebody waits for the agent's lines.
pub(super) const COM1_TRANSMIT: u16 = *COM1_PORTS.start();
/// Interrupt line of COM1.
pub(super) const COM1_GSI: u32 = 4;
/// Ports of COM2.
pub(super) const COM2_PORTS: RangeInclusive<u16> = 0x2f8..=0x2ff;
/// Interrupt line of COM2.
pub(super) const COM2_GSI: u32 = 3;

/// The interrupt line, an irqfd.
struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// One UART. `W` takes what the guest sends; input comes from an [`AgentPort`] or nowhere.
pub(super) struct SerialPort<W: Write> {
    base: u16,
    uart: Mutex<Serial<Line, NoEvents, W>>,
    input: Option<AgentPort>,
    on_waiting_for_room: OnceLock<WaitingForRoom>,
}

/// Told whether the guest asks for an interrupt when the transmit register is empty, each time that it says so; on the vCPU's thread.
type WaitingForRoom = Box<dyn Fn(bool) + Send + Sync>;

impl<W: Write + Send> SerialPort<W> {
    /// A UART that only sends.
    pub(super) fn output_only(ports: RangeInclusive<u16>, out: W) -> Result<(Self, EventFd), MachineError> {
        Self::new(ports, out, None)
    }

    fn new(
        ports: RangeInclusive<u16>,
        out: W,
        input: Option<AgentPort>,
    ) -> Result<(Self, EventFd), MachineError> {
        let what = "the interrupt eventfd of a serial port";
        let line = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(MachineError::host(what))?;
        let irqfd = line.try_clone().map_err(MachineError::host(what))?;
        let uart = Mutex::new(Serial::new(Line(line), out));
        Ok((Self { base: *ports.start(), uart, input, on_waiting_for_room: OnceLock::new() }, irqfd))
    }

    /// Has `tell` called when the guest switches the transmit interrupt on or off. The first one given stays.
    pub(super) fn on_waiting_for_room(&self, tell: WaitingForRoom) {
        let _ = self.on_waiting_for_room.set(tell);
    }

    /// Tells whoever listens if this write was one to the interrupt enable register.
    fn tell_if_enable_register(&self, uart: &mut Serial<Line, NoEvents, W>, offset: u8, byte: u8) {
        const INTERRUPT_ENABLE: u8 = 1;
        const LINE_CONTROL: u8 = 3;
        const DIVISOR_LATCH: u8 = 0x80;
        const TRANSMIT_EMPTY: u8 = 2;
        let Some(tell) = self.on_waiting_for_room.get() else { return };
        if offset == INTERRUPT_ENABLE && uart.read(LINE_CONTROL) & DIVISOR_LATCH == 0 {
            tell(byte & TRANSMIT_EMPTY != 0);
        }
    }

    /// Moves waiting input into an empty receive FIFO.
    ///
    /// Only into an empty one: each refill is one interrupt, and a guest that reads byte by byte would
    /// otherwise get one for each.
    fn refill(&self, uart: &mut Serial<Line, NoEvents, W>) {
        const FIFO_BYTES: usize = 64;
        let Some(input) = &self.input else { return };
        if uart.fifo_capacity() < FIFO_BYTES || !input.has_input() {
            return;
        }
        if let Err(error) = uart.enqueue_raw_bytes(&input.take_input(FIFO_BYTES)) {
            tracing::warn!(%error, "input for the guest's serial port is lost");
        }
    }

    fn offset(&self, port: u16) -> u8 {
        u8::try_from(port.saturating_sub(self.base)).unwrap_or(u8::MAX)
    }
}

impl SerialPort<AgentPort> {
    /// The agent's UART. Input starts to flow when the host writes to `agent` or the guest reads.
    pub(super) fn with_agent(
        ports: RangeInclusive<u16>,
        agent: &AgentPort,
    ) -> Result<(Arc<Self>, EventFd), MachineError> {
        let (port, irqfd) = Self::new(ports, agent.clone(), Some(agent.clone()))?;
        let port = Arc::new(port);
        let weak = Arc::downgrade(&port);
        agent.set_on_input(Some(Box::new(move || {
            if let Some(port) = weak.upgrade() {
                port.refill(&mut port.uart.lock().unwrap_or_else(PoisonError::into_inner));
            }
        })));
        Ok((port, irqfd))
    }
}

impl<W: Write + Send> PortDevice for SerialPort<W> {
    fn read(&self, port: u16, data: &mut [u8]) {
        let mut uart = self.uart.lock().unwrap_or_else(PoisonError::into_inner);
        for (byte, offset) in data.iter_mut().zip(self.offset(port)..) {
            *byte = uart.read(offset);
        }
        self.refill(&mut uart);
    }

    fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
        let mut uart = self.uart.lock().unwrap_or_else(PoisonError::into_inner);
        for (&byte, offset) in data.iter().zip(self.offset(port)..) {
            if let Err(error) = uart.write(offset, byte) {
                // Only a closed eventfd or a failing sink gets here, and neither is the guest's doing.
                tracing::warn!(%error, "serial port {:#x}", self.base);
            }
            self.tell_if_enable_register(&mut uart, offset, byte);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::console::{Console, ConsoleSink};

    const DATA: u16 = 0x2f8;
    const INTERRUPT_ENABLE: u16 = 0x2f9;
    const LINE_STATUS: u16 = 0x2fd;
    const DATA_READY: u8 = 1;

    fn read(port: &impl PortDevice, at: u16) -> u8 {
        let mut data = [0];
        port.read(at, &mut data);
        data[0]
    }

    #[test]
    fn console_output_reaches_the_tail() {
        let console = Console::new(&ConsoleSink::default()).unwrap();
        let (port, _irqfd) = SerialPort::output_only(COM1_PORTS, console.clone()).unwrap();
        assert!(b"hi".iter().all(|&byte| port.write(0x3f8, &[byte]).is_none()));
        assert_eq!(console.tail(), "hi");
    }

    #[test]
    fn guest_that_waits_for_an_interrupt_to_send_is_told_of_and_the_divisor_is_none() {
        let console = Console::new(&ConsoleSink::default()).unwrap();
        let (port, _irqfd) = SerialPort::output_only(COM1_PORTS, console).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        port.on_waiting_for_room(Box::new(move |waits| listener.lock().unwrap().push(waits)));
        // Receive interrupts, transmit interrupts, none; and a divisor's high byte with the same bit.
        for (register, byte) in [(0x3f9, 1), (0x3f9, 2), (0x3f9, 0), (0x3fb, 0x80), (0x3f9, 2), (0x3fb, 3)] {
            port.write(register, &[byte]);
        }
        assert_eq!(*told.lock().unwrap(), [false, true, false]);
    }

    #[test]
    fn input_longer_than_the_fifo_arrives_whole_and_in_order() {
        let agent = AgentPort::new();
        let (port, irqfd) = SerialPort::with_agent(COM2_PORTS, &agent).unwrap();
        port.write(INTERRUPT_ENABLE, &[1]);
        let sent: Vec<u8> = (0..=255).collect();
        AgentPort::write(&agent, &sent).unwrap();
        assert!(irqfd.read().is_ok(), "no interrupt for the first bytes");
        let mut got = Vec::new();
        while read(&*port, LINE_STATUS) & DATA_READY != 0 {
            got.push(read(&*port, DATA));
        }
        assert_eq!(got, sent);
    }

    #[test]
    fn guest_line_reaches_the_host() {
        let agent = AgentPort::new();
        let (port, _irqfd) = SerialPort::with_agent(COM2_PORTS, &agent).unwrap();
        assert!(b"ready\r\n".iter().all(|&byte| port.write(DATA, &[byte]).is_none()));
        assert_eq!(agent.line(Duration::ZERO).as_deref(), Some("ready"));
    }

    #[test]
    fn wide_access_at_the_last_register_stays_in_the_device() {
        let agent = AgentPort::new();
        let (port, _irqfd) = SerialPort::with_agent(COM2_PORTS, &agent).unwrap();
        port.write(0x2ff, &[1, 2, 3, 4]);
        let mut data = [0; 4];
        port.read(0x2ff, &mut data);
        assert_eq!(data, [1, 0, 0, 0]);
    }

    #[test]
    fn agent_outlives_its_port() {
        let agent = AgentPort::new();
        drop(SerialPort::with_agent(COM2_PORTS, &agent).unwrap());
        assert_eq!(AgentPort::write(&agent, b"late"), Ok(()));
    }
}
