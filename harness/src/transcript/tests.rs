//! Transcripts of hand-made traces.

use misfire_device::shape::{Kind, Shape};
use misfire_device::spec::CommonCfg;
use misfire_device::trace::{Cause, IrqKind, Legality, Message, Part, Step};

use super::*;

/// A trace in the making.
#[derive(Clone, Default)]
struct Trace(Vec<What>);

impl Trace {
    fn new() -> Self {
        let shape = Shape {
            queues: 2,
            msix: Some(3),
            ..Shape::new(Kind::Block)
        };
        Self(vec![What::Hello(Box::new(Hello {
            dev: 0,
            shape,
            features: 1 << 32,
        }))])
    }

    fn step(mut self, input: Input, shown: &[Effect]) -> Self {
        self.0.push(What::Step(Step {
            dev: 0,
            part: Part::Function,
            input,
            heard: None,
            shown: shown.iter().cloned().collect(),
            meant: None,
        }));
        self
    }

    fn access(self, op: Op, space: Space, field: Field, q: Option<u16>, val: u64) -> Self {
        let width = field.width().unwrap_or(2);
        let written = (op == Op::Write).then_some(val);
        let shown: &[Effect] = if op == Op::Read {
            &[Effect::Value(val)]
        } else {
            &[]
        };
        self.step(
            Input::Access(Access {
                op,
                space,
                off: 0,
                width,
                val: written,
                field: Some(field),
                q,
                window: false,
            }),
            shown,
        )
    }

    fn wr(self, field: &str, val: u64) -> Self {
        self.access(Op::Write, Space::Bar0, field.parse().unwrap(), None, val)
    }

    fn rd(self, field: &str, val: u64) -> Self {
        self.access(Op::Read, Space::Bar0, field.parse().unwrap(), None, val)
    }

    fn notify(self, q: u16) -> Self {
        self.access(Op::Write, Space::Bar0, Field::Notify, Some(q), q.into())
    }

    fn used(self, queue: u16) -> Self {
        let message = Message {
            kind: IrqKind::Msix,
            entry: queue + 1,
            cause: Cause::Queue(queue),
        };
        self.step(Input::Used { queue }, &[Effect::Message(message)])
    }

    fn log(mut self, line: &str) -> Self {
        self.0.push(What::Log { line: line.into() });
        self
    }

    fn push(mut self, what: What) -> Self {
        self.0.push(what);
        self
    }

    fn text(self) -> String {
        let events: Vec<Event> = (1..)
            .zip(self.0)
            .map(|(seq, what)| Event {
                seq,
                time: seq * 1000,
                what,
            })
            .collect();
        transcript(&events)
    }
}

#[test]
fn where_in_its_source_the_guest_gave_up_is_not_told() {
    let text = Trace::new()
        .log("MISFIRE: guest reference 1")
        .log("ASSERT: panicked at guest/src/driver/virtio/arrival.rs:77:13:")
        .text();
    assert!(
        text.contains("panicked at guest/src/driver/virtio/arrival.rs:\n"),
        "{text}"
    );
}

#[test]
fn a_run_reads_as_sections_that_keep_their_own_order() {
    let table = [0x63, 0x73, 0x63].map(|data| TableEntry {
        addr: 0xfee0_0000,
        data,
        ctrl: 0,
    });
    let text = Trace::new()
        .log("iPXE, SeaBIOS, what firmware prints")
        .wr("cc.device_status", 0)
        .log("MISFIRE: guest reference 1")
        .rd("cc.device_status", 0)
        .wr("cc.device_status", 3)
        .wr("cc.queue_desc_lo", 0x12_3000)
        .wr("cc.queue_msix_vector", 0x63)
        .log("WDFINT: MessageSignaled=1 MessageNumber=0 Vector=0x63 Irql=6")
        .log("CNT: message 0 isr=17 dpc=16")
        .push(What::MsixTable {
            dev: 0,
            entries: table.into(),
        })
        .push(What::Fault(Fired {
            dev: 0,
            id: "refuse".into(),
            fault: "vector.reject".into(),
            class: Legality::Legal,
            object: "q0".into(),
            count: 3,
        }))
        .push(What::Mark {
            step: Some(0),
            phase: "end".into(),
            text: "wait live".into(),
        })
        .text();
    insta::assert_snapshot!(text, @r"
    ## steps
    0 wait live: end

    ## driver log
    MISFIRE: guest reference 1
    WDFINT: MessageSignaled=1 MessageNumber=0 Vector=vec1 Irql=6
    CNT: message 0 isr=* dpc=*

    ## device 0: set up
    wr cc.device_status = 0
    rd cc.device_status = 0
    wr cc.device_status = ACK|DRIVER
    wr cc.queue_desc_lo = addr1
    wr cc.queue_msix_vector = vec1

    ## device 0: MSI-X table
    message 0: entry 0, 2
    message 1: entry 1

    ## device 0: faults
    refuse (vector.reject, legal) on q0
    ");
}

#[test]
fn what_runs_at_the_same_time_may_come_in_any_order() {
    let one = Trace::new()
        .notify(0)
        .used(0)
        .notify(1)
        .rd("isr", 1)
        .used(1)
        .text();
    let other = Trace::new()
        .notify(1)
        .notify(0)
        .used(1)
        .used(0)
        .rd("isr", 1)
        .notify(0)
        .used(0)
        .text();
    assert_eq!(one, other);
    assert!(one.contains("msix 1 for q0\nmsix 2 for q1\n"), "{one}");
}

#[test]
fn a_poll_counts_once_however_often_it_is_repeated() {
    let polls = |n| {
        (0..n)
            .fold(Trace::new(), |trace, _| trace.rd("cc.device_status", 15))
            .rd("cc.device_status", 0)
            .text()
    };
    assert_eq!(polls(1), polls(50));
}

#[test]
fn a_group_of_accesses_counts_once_however_often_it_is_repeated() {
    let looks = |n| {
        let look = |trace: Trace, _| {
            trace
                .rd("cc.config_generation", 0)
                .rd("dev.0", 64)
                .rd("cc.config_generation", 0)
        };
        (0..n)
            .fold(Trace::new().wr("cc.device_status", 15), look)
            .wr("cc.device_status", 0)
            .text()
    };
    assert_eq!(looks(1), looks(7));
}

#[test]
fn addresses_and_vectors_of_another_run_make_no_difference() {
    let run = |address: u64, vector: u64| {
        Trace::new()
            .log(&format!("INT: MSI Vector={vector}"))
            .log(&format!(
                "Created interrupt(0): Vect({vector:#x}), SpinLock {address:#018x}"
            ))
            .wr("cc.queue_desc_lo", address)
            .wr("cc.queue_msix_vector", vector)
            .text()
    };
    assert_eq!(run(0x10_0000, 0x63), run(0x7f_0000, 0x93));
}

#[test]
fn which_memory_a_kernel_lends_again_after_a_reset_makes_no_difference() {
    let run = |guest: &str, again: u64| {
        Trace::new()
            .log(&format!("MISFIRE: guest {guest} 1"))
            .log("hrtimer: interrupt took 10985632 ns")
            .wr("cc.queue_desc_lo", 0x10_0000)
            .wr("cc.device_status", 0)
            .wr("cc.queue_desc_lo", again)
            .text()
    };
    assert_eq!(run("linux", 0x10_0000), run("linux", 0x20_0000));
    assert_ne!(run("reference", 0x10_0000), run("reference", 0x20_0000));
    assert!(!run("linux", 0x10_0000).contains("hrtimer"));
}

#[test]
fn what_qemu_does_before_its_reset_is_left_out() {
    let config =
        |trace: Trace, op, val| trace.access(op, Space::Config, Field::MsixControl, None, val);
    let plain = config(Trace::new(), Op::Write, 0x8002).rd("isr", 0).text();
    let realized =
        config(config(Trace::new(), Op::Write, 0), Op::Read, 2).step(Input::FunctionReset, &[]);
    let realized = config(realized, Op::Write, 0x8002).rd("isr", 0).text();
    assert_eq!(plain, realized);
}

#[test]
fn an_access_of_another_width_than_the_registers_shows_it() {
    let access = Access {
        op: Op::Write,
        space: Space::Bar0,
        off: 0x12,
        width: 4,
        val: Some(1),
        field: Some(Field::Common(CommonCfg::ConfigMsixVector)),
        q: None,
        window: false,
    };
    let text = Trace::new().step(Input::Access(access), &[]).text();
    assert!(
        text.contains("wr cc.config_msix_vector (4 bytes) = 0x1"),
        "{text}"
    );
}

#[test]
fn that_chains_come_back_in_another_order_is_said_once_for_a_queue() {
    let fetch = |trace: Trace, head| {
        let request = String::new();
        trace.step(
            Input::Chain {
                queue: 1,
                head,
                request,
            },
            &[],
        )
    };
    let two = || fetch(fetch(Trace::new(), 4), 7);
    let used = |trace: Trace, ids: [u32; 2]| {
        let used = ids.map(|id| Effect::Complete {
            queue: 1,
            id,
            len: 1,
        });
        trace.step(Input::Used { queue: 1 }, &used)
    };
    let line = "## device 0: rings\nq1: chains become used in another order\n";
    assert!(!used(two(), [4, 7]).text().contains("rings"));
    assert!(used(two(), [7, 4]).text().contains(line));
    // What a reset overtook comes back in no order.
    let reset = used(two(), [7, 7]).wr("cc.device_status", 0);
    assert!(!used(fetch(reset, 4), [4, 4]).text().contains("rings"));
}
