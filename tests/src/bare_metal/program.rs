//! The program that the guest CPU runs: fetch a command, do it, report, for ever.
//!
//! Integer instructions only, because a KVM without virtualisation hardware runs it in its instruction
//! emulator. RBP holds the address of the CPU's mailbox ([`field`]) and never changes.

use std::collections::BTreeMap;

/// Port that a CPU writes when it wants its next command; the write exits, and the host answers in memory.
pub const READY_PORT: u8 = 0x10;

/// What the host can ask of a CPU. The numbers are the opcodes in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Opcode {
    /// Nothing; what is pending at the APIC is taken on the way.
    Nop = 0,
    /// RDMSR of `a`.
    ReadMsr = 1,
    /// WRMSR of `a` with `b`.
    WriteMsr = 2,
    /// Hypercall with RCX `a`, RDX `b`, R8 `c` through the page at `d`.
    Hypercall = 3,
    /// CPUID leaf `a`, subleaf `b`; EAX to EDX.
    Cpuid = 4,
    /// Copies `c` quadwords from `a` to `b`.
    Copy = 5,
    /// Swaps each of `c` quadwords at `a` with zero, atomically, and stores what was there at `b`.
    Take = 6,
    /// Swaps the doubleword at `a` with `b`, atomically.
    Swap = 7,
    /// Loads the quadword at `a`.
    Load = 8,
    /// Stores `b` at `a`.
    Store = 9,
}

/// Offsets of the mailbox fields.
pub mod field {
    /// [`super::Opcode`].
    pub const OPCODE: u8 = 0x00;
    /// First of four operands.
    pub const OPERANDS: u8 = 0x08;
    /// First of four results.
    pub const RESULTS: u8 = 0x28;
    /// Interrupts of vector 0xf3 taken.
    pub const INTERRUPTS: u8 = 0x48;
    /// General protection faults taken.
    pub const FAULTS: u8 = 0x50;
}

/// The assembled program; all addresses are relative to where it is loaded.
#[derive(Clone, Debug)]
pub struct Program {
    /// Machine code.
    pub code: Vec<u8>,
    /// First instruction of a CPU.
    pub start: usize,
    /// Handler of vector 0xf3.
    pub interrupt: usize,
    /// Handler of #GP: skips RDMSR or WRMSR.
    pub fault: usize,
}

impl Program {
    /// Assembles the program.
    ///
    /// # Panics
    /// Only when a label is missing or the code outgrows a rel32, that is, never once a test has run it.
    #[must_use]
    pub fn assemble() -> Self {
        let mut asm = Assembler::default();
        start(&mut asm);
        commands(&mut asm);
        handlers(&mut asm);
        let at = |name| asm.labels[name];
        let (start, interrupt, fault) = (at("start"), at("interrupt"), at("fault"));
        Self { code: asm.link(), start, interrupt, fault }
    }
}

fn start(asm: &mut Assembler) {
    asm.label("start");
    asm.code(&[0xb9, 0x0f, 0x08, 0, 0]); // mov ecx, x2APIC spurious vector register
    asm.code(&[0xb8, 0xff, 0x01, 0, 0]); // mov eax, enabled, vector 0xff
    asm.code(&[0x31, 0xd2, 0x0f, 0x30]); // xor edx, edx; wrmsr
    asm.code(&[0xfb]); // sti
    asm.label("ready");
    asm.code(&[0xe6, READY_PORT]); // out READY_PORT, al
    asm.code(&[0x48, 0x8b, 0x45, field::OPCODE]); // mov rax, [rbp + OPCODE]
    for (opcode, label) in [
        (Opcode::ReadMsr, "read msr"),
        (Opcode::WriteMsr, "write msr"),
        (Opcode::Hypercall, "hypercall"),
        (Opcode::Cpuid, "cpuid"),
        (Opcode::Copy, "copy"),
        (Opcode::Take, "take"),
        (Opcode::Swap, "swap"),
        (Opcode::Load, "load"),
        (Opcode::Store, "store"),
    ] {
        asm.code(&[0x83, 0xf8, opcode as u8]); // cmp eax, opcode
        asm.jump(&[0x0f, 0x84], label); // je
    }
    asm.jump(&[0xe9], "ready"); // jmp
}

fn commands(asm: &mut Assembler) {
    asm.label("read msr");
    asm.code(&[0x8b, 0x4d, 0x08, 0x0f, 0x32]); // mov ecx, [a]; rdmsr
    asm.code(&[0x48, 0xc1, 0xe2, 32, 0x89, 0xc0, 0x48, 0x09, 0xd0]); // shl rdx, 32; mov eax, eax; or rax, rdx
    asm.jump(&[0xe9], "result in rax");

    asm.label("write msr");
    asm.code(&[0x8b, 0x4d, 0x08, 0x8b, 0x45, 0x10, 0x8b, 0x55, 0x14]); // mov ecx, [a]; mov edx:eax, [b]
    asm.code(&[0x0f, 0x30]); // wrmsr
    asm.jump(&[0xe9], "ready");

    asm.label("hypercall");
    asm.code(&[0x48, 0x8b, 0x4d, 0x08, 0x48, 0x8b, 0x55, 0x10]); // mov rcx, [a]; mov rdx, [b]
    asm.code(&[0x4c, 0x8b, 0x45, 0x18, 0x48, 0x8b, 0x45, 0x20]); // mov r8, [c]; mov rax, [d]
    asm.code(&[0xff, 0xd0]); // call rax
    asm.label("result in rax");
    asm.code(&[0x48, 0x89, 0x45, field::RESULTS]); // mov [result 0], rax
    asm.jump(&[0xe9], "ready");

    asm.label("cpuid");
    asm.code(&[0x8b, 0x45, 0x08, 0x8b, 0x4d, 0x10, 0x0f, 0xa2]); // mov eax, [a]; mov ecx, [b]; cpuid
    asm.code(&[0x89, 0x45, 0x28, 0x89, 0x5d, 0x30, 0x89, 0x4d, 0x38, 0x89, 0x55, 0x40]); // mov [results], ...
    asm.jump(&[0xe9], "ready");

    for (label, again) in [("copy", "copy again"), ("take", "take again")] {
        asm.label(label);
        asm.code(&[0x48, 0x8b, 0x75, 0x08, 0x48, 0x8b, 0x7d, 0x10, 0x48, 0x8b, 0x4d, 0x18]); // rsi, rdi, rcx
        asm.label(again);
        if label == "copy" {
            asm.code(&[0x48, 0x8b, 0x06]); // mov rax, [rsi]
        } else {
            asm.code(&[0x31, 0xc0, 0x48, 0x87, 0x06]); // xor eax, eax; xchg [rsi], rax
        }
        asm.code(&[0x48, 0x89, 0x07]); // mov [rdi], rax
        asm.code(&[0x48, 0x83, 0xc6, 8, 0x48, 0x83, 0xc7, 8]); // add rsi, 8; add rdi, 8
        asm.code(&[0x48, 0xff, 0xc9]); // dec rcx
        asm.jump(&[0x0f, 0x85], again); // jnz
        asm.jump(&[0xe9], "ready");
    }

    asm.label("swap");
    asm.code(&[0x48, 0x8b, 0x55, 0x08, 0x8b, 0x45, 0x10, 0x87, 0x02]); // mov rdx, [a]; mov eax, [b]; xchg [rdx], eax
    asm.jump(&[0xe9], "result in rax");

    asm.label("load");
    asm.code(&[0x48, 0x8b, 0x55, 0x08, 0x48, 0x8b, 0x02]); // mov rdx, [a]; mov rax, [rdx]
    asm.jump(&[0xe9], "result in rax");

    asm.label("store");
    asm.code(&[0x48, 0x8b, 0x55, 0x08, 0x48, 0x8b, 0x45, 0x10]); // mov rdx, [a]; mov rax, [b]
    asm.code(&[0x48, 0x89, 0x02]); // mov [rdx], rax
    asm.jump(&[0xe9], "ready");
}

fn handlers(asm: &mut Assembler) {
    asm.label("interrupt");
    asm.code(&[0x50, 0x51, 0x52]); // push rax, rcx, rdx
    asm.code(&[0x48, 0xff, 0x45, field::INTERRUPTS]); // inc qword [rbp + INTERRUPTS]
    asm.code(&[0xb9, 0x0b, 0x08, 0, 0]); // mov ecx, x2APIC EOI
    asm.code(&[0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30]); // xor eax, eax; xor edx, edx; wrmsr
    asm.code(&[0x5a, 0x59, 0x58, 0x48, 0xcf]); // pop rdx, rcx, rax; iretq

    asm.label("fault");
    asm.code(&[0x48, 0xff, 0x45, field::FAULTS]); // inc qword [rbp + FAULTS]
    asm.code(&[0x48, 0x83, 0x44, 0x24, 8, 2]); // add qword [rsp + 8], 2: past RDMSR or WRMSR
    asm.code(&[0x48, 0x83, 0xc4, 8, 0x48, 0xcf]); // add rsp, 8: the error code; iretq
}

/// Just enough of an assembler: bytes, labels, and jumps to them.
#[derive(Debug, Default)]
struct Assembler {
    bytes: Vec<u8>,
    labels: BTreeMap<&'static str, usize>,
    jumps: Vec<(usize, &'static str)>,
}

impl Assembler {
    fn code(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn label(&mut self, name: &'static str) {
        self.labels.insert(name, self.bytes.len());
    }

    /// `opcode` followed by a rel32 to `label`.
    fn jump(&mut self, opcode: &[u8], label: &'static str) {
        self.code(opcode);
        self.jumps.push((self.bytes.len(), label));
        self.code(&[0; 4]);
    }

    fn link(mut self) -> Vec<u8> {
        for (at, label) in self.jumps {
            let from = i64::try_from(at + 4).expect("small program");
            let to = i64::try_from(self.labels[label]).expect("small program");
            let distance = i32::try_from(to - from).expect("small program");
            self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        self.bytes
    }
}
