//! What data frames carry: the layouts of the kernel debugger's protocol, of 64-bit x86 and, where
//! they differ, of 32-bit x86.

use super::frame::kind;

/// `DBG_CONTINUE`: the exception is dealt with.
pub const CONTINUE: u32 = 0x0001_0002;
/// `DBG_EXCEPTION_NOT_HANDLED`: the operating system is to deal with it.
pub const NOT_HANDLED: u32 = 0x8001_0001;
/// `STATUS_BREAKPOINT`.
pub const BREAKPOINT: u32 = 0x8000_0003;
/// `STATUS_SINGLE_STEP`.
pub const SINGLE_STEP: u32 = 0x8000_0004;
/// `STATUS_ASSERTION_FAILURE`: `NT_ASSERT`.
pub const ASSERTION: u32 = 0xc000_0420;

const STATUS_PENDING: u32 = 0x103;
const NO_SUCH_FILE: u32 = 0xc000_000f;

const PRINT: u32 = 0x3230;
const GET_STRING: u32 = 0x3231;
const EXCEPTION: u32 = 0x3030;
const LOAD_SYMBOLS: u32 = 0x3031;
const COMMAND_STRING: u32 = 0x3032;
/// Says where a state change comes from.
const ALTERNATE: u32 = 0x1_0000;
/// What the fixed part of a state change takes on either machine.
const STATE_BYTES: usize = 240;
/// What the fixed part of a request or an answer takes.
const MANIPULATE_BYTES: usize = 56;
const FILE_IO_BYTES: usize = 64;
const DEBUG_IO_BYTES: usize = 16;
const FILE_CREATE: u32 = 0x3430;

/// What a request is about.
pub mod api {
    /// Memory is read.
    pub const READ_VIRTUAL_MEMORY: u32 = 0x3130;
    /// The target runs on.
    pub const CONTINUE2: u32 = 0x313c;
    /// The target reboots.
    pub const REBOOT: u32 = 0x313b;
    /// Which kernel it is.
    pub const GET_VERSION: u32 = 0x3146;
    /// The target crashes with 0xE2.
    pub const CAUSE_BUGCHECK: u32 = 0x3149;
    /// A part of the stopped processor's context.
    pub const GET_CONTEXT_EX: u32 = 0x315f;
    /// A part of it is written.
    pub const SET_CONTEXT_EX: u32 = 0x3160;
}

/// What the target's processor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    #[default]
    Amd64,
    /// 32-bit x86.
    X86,
}

impl Machine {
    fn of(number: u16) -> Option<Self> {
        match number {
            0x8664 => Some(Self::Amd64),
            0x014c => Some(Self::X86),
            _ => None,
        }
    }

    /// Where the instruction pointer is in a CONTEXT, and how many bytes it has.
    pub const fn instruction_pointer(self) -> (u32, u32) {
        match self {
            Self::Amd64 => (0xf8, 8),
            Self::X86 => (0xb8, 4),
        }
    }

    /// Where the first argument of `DbgBreakPointWithStatus` is in a CONTEXT.
    pub const fn break_status(self) -> (u32, u32) {
        match self {
            // rcx
            Self::Amd64 => (0x80, 8),
            // eax: it takes its argument there before the breakpoint.
            Self::X86 => (0xb0, 4),
        }
    }
}

/// What the target tells or asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text of `DbgPrint`.
    Print {
        /// The processor.
        cpu: u16,
        /// The text; it need not end a line.
        text: Vec<u8>,
    },
    /// A question to whoever sits at the debugger.
    Prompt {
        /// The processor.
        cpu: u16,
        /// The question.
        text: Vec<u8>,
        /// The most bytes of an answer.
        room: u32,
    },
    /// Is there a file of the host in place of this one?
    FileRequest {
        /// What is asked: to open, to read, …
        api: u32,
        /// The file's name, when it is to be opened.
        name: String,
    },
    /// It stopped for an exception.
    Exception(Exception),
    /// It stopped because an image was loaded or unloaded.
    Image {
        /// The processor.
        cpu: u16,
        /// Its path; none when the target is about to reboot.
        path: String,
        /// Where it is.
        base: u64,
        /// Its size in bytes.
        size: u32,
        /// It goes.
        unload: bool,
    },
    /// It stopped with a command for the debugger.
    Command {
        /// The processor.
        cpu: u16,
    },
    /// The answer to a request.
    Answer(Answer),
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The processor.
    pub cpu: u16,
    /// Its status code.
    pub code: u32,
    /// Where it happened.
    pub address: u64,
    /// The instruction pointer.
    pub counter: u64,
    /// Whether the operating system has not yet dealt with it.
    pub first_chance: bool,
    /// Its parameters.
    pub parameters: Vec<u64>,
    /// The bytes at the instruction pointer.
    pub code_bytes: Vec<u8>,
    /// The same, where they are on 32-bit x86.
    pub code_bytes_x86: Vec<u8>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub api: u32,
    /// Its status: 0, or why not.
    pub status: u32,
    /// The fixed part that depends on the request.
    pub fixed: [u8; 40],
    /// What was asked for.
    pub data: Vec<u8>,
}

/// A version of the kernel, as it tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The build.
    pub build: u16,
    /// The machine, if we know it.
    pub machine: Option<Machine>,
    /// Where the kernel is.
    pub base: u64,
    /// Where a pointer to the debugger's data block is.
    pub data_list: u64,
}

impl Answer {
    /// A version, if that was asked.
    pub fn version(&self) -> Option<Version> {
        let fixed = Fields(&self.fixed);
        (self.api == api::GET_VERSION && self.status == 0).then(|| Version {
            build: fixed.half(2),
            machine: Machine::of(fixed.half(8)),
            base: fixed.long(16),
            data_list: fixed.long(32),
        })
    }
}

/// The fields of a payload; what is beyond its end is 0.
struct Fields<'p>(&'p [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(self.0.get(at..).unwrap_or_default()) {
            *to = *from;
        }
        out
    }
    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }
    fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}

impl Message {
    /// What a data frame of this kind says; none if it is no message that we know.
    pub fn read(frame_kind: u16, payload: &[u8]) -> Option<Self> {
        let fields = Fields(payload);
        let cpu = fields.half(6);
        match frame_kind {
            kind::DEBUG_IO if payload.len() >= DEBUG_IO_BYTES => {
                let text = &payload[DEBUG_IO_BYTES..];
                let length = (fields.word(8) as usize).min(text.len());
                let text = text[..length].to_vec();
                match fields.word(0) {
                    PRINT => Some(Self::Print { cpu, text }),
                    GET_STRING => Some(Self::Prompt {
                        cpu,
                        text,
                        room: fields.word(12),
                    }),
                    _ => None,
                }
            }
            kind::STATE_CHANGE if payload.len() >= STATE_BYTES => state(payload, cpu),
            kind::MANIPULATE if payload.len() >= MANIPULATE_BYTES => Some(Self::Answer(Answer {
                api: fields.word(0),
                status: fields.word(8),
                fixed: fields.bytes(16),
                data: payload[MANIPULATE_BYTES..].to_vec(),
            })),
            kind::FILE_IO if payload.len() >= FILE_IO_BYTES => Some(Self::FileRequest {
                api: fields.word(0),
                name: match fields.word(0) {
                    FILE_CREATE => utf16(&payload[FILE_IO_BYTES..]),
                    _ => String::new(),
                },
            }),
            _ => None,
        }
    }
}

fn state(payload: &[u8], cpu: u16) -> Option<Message> {
    let fields = Fields(payload);
    match fields.word(0) & !ALTERNATE {
        EXCEPTION => {
            let count = (fields.word(56) as usize).min(15);
            Some(Message::Exception(Exception {
                cpu,
                code: fields.word(32),
                address: fields.long(48),
                counter: fields.long(24),
                first_chance: fields.word(184) != 0,
                parameters: (0..count).map(|n| fields.long(64 + 8 * n)).collect(),
                code_bytes: fields.bytes::<16>(216)[..usize::from(fields.half(212)).min(16)]
                    .to_vec(),
                code_bytes_x86: fields.bytes::<16>(204)[..usize::from(fields.half(200)).min(16)]
                    .to_vec(),
            }))
        }
        LOAD_SYMBOLS => {
            let length = (fields.word(32) as usize).min(payload.len() - STATE_BYTES);
            let path = &payload[payload.len() - length..];
            let path = path.split(|b| *b == 0).next().unwrap_or_default();
            Some(Message::Image {
                cpu,
                path: String::from_utf8_lossy(path).into_owned(),
                base: fields.long(40),
                size: fields.word(60),
                unload: fields.word(64) & 0xff != 0,
            })
        }
        COMMAND_STRING => Some(Message::Command { cpu }),
        _ => None,
    }
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]));
    String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>())
}

/// A frame's kind and payload.
pub type Payload = (u16, Vec<u8>);

fn debug_io_header(cpu: u16) -> Vec<u8> {
    let mut bytes = GET_STRING.to_le_bytes().to_vec();
    bytes.extend([6, 0]);
    bytes.extend(cpu.to_le_bytes());
    bytes
}

/// The answer to a prompt.
pub fn answer_prompt(cpu: u16, answer: &str) -> Payload {
    let mut bytes = debug_io_header(cpu);
    bytes.extend(0u32.to_le_bytes());
    bytes.extend((answer.len() as u32).to_le_bytes());
    bytes.extend(answer.as_bytes());
    (kind::DEBUG_IO, bytes)
}

/// There is no such file.
pub fn no_such_file(api: u32) -> Payload {
    let mut bytes = api.to_le_bytes().to_vec();
    bytes.extend(NO_SUCH_FILE.to_le_bytes());
    bytes.resize(FILE_IO_BYTES, 0);
    (kind::FILE_IO, bytes)
}

fn request(api: u32, cpu: u16, status: u32, fixed: &[u8], data: &[u8]) -> Payload {
    let mut bytes = api.to_le_bytes().to_vec();
    bytes.extend(0u16.to_le_bytes());
    bytes.extend(cpu.to_le_bytes());
    bytes.extend(status.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(fixed);
    bytes.resize(MANIPULATE_BYTES, 0);
    bytes.extend(data);
    (kind::MANIPULATE, bytes)
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Lets the target run on. It is not answered.
pub fn go_on(machine: Machine, cpu: u16, status: u32) -> Payload {
    // Dr7 as it is without breakpoints; 1 in place of an address changes nothing.
    let fixed = match machine {
        Machine::Amd64 => words(&[status, 0, 0x400, 0, 1, 0, 1, 0]),
        Machine::X86 => words(&[status, 0, 0x400, 1, 1]),
    };
    request(api::CONTINUE2, cpu, status, &fixed, &[])
}

/// Which kernel is it?
pub fn get_version(cpu: u16) -> Payload {
    request(api::GET_VERSION, cpu, STATUS_PENDING, &[], &[])
}

/// Memory of the target, up to a kilobyte.
pub fn read_memory(cpu: u16, address: u64, length: u32) -> Payload {
    let mut fixed = address.to_le_bytes().to_vec();
    fixed.extend(length.to_le_bytes());
    request(api::READ_VIRTUAL_MEMORY, cpu, STATUS_PENDING, &fixed, &[])
}

/// A part of the stopped processor's CONTEXT.
pub fn get_context(cpu: u16, offset: u32, length: u32) -> Payload {
    request(
        api::GET_CONTEXT_EX,
        cpu,
        STATUS_PENDING,
        &words(&[offset, length]),
        &[],
    )
}

/// Writes a part of it. The target refuses unless it was asked for a part before.
pub fn set_context(cpu: u16, offset: u32, value: &[u8]) -> Payload {
    let fixed = words(&[offset, value.len() as u32]);
    request(api::SET_CONTEXT_EX, cpu, STATUS_PENDING, &fixed, value)
}

/// Reboots the target. It is not answered.
pub fn reboot() -> Payload {
    request(api::REBOOT, 0, 0, &[], &[])
}

/// Crashes the target with MANUALLY_INITIATED_CRASH. It is not answered.
pub fn cause_bugcheck() -> Payload {
    request(api::CAUSE_BUGCHECK, 0, 0, &[], &[])
}
