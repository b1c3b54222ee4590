//! The backend as `attach = "vhost-user"` serves it: traced, and with its interrupts in the hands of
//! an injector.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use misfire_device::fault::Fault;
use misfire_device::port::{Journal, Served, serve};
use misfire_device::shape::{Attach, Shape};
use misfire_device::trace::{Effect, Event, Host, Part, What};
use tempfile::TempDir;
use virtio_bindings::virtio_blk::VIRTIO_BLK_T_FLUSH;

use super::driver::Driver;
use super::{shape, write_and_read_back};

struct Attached {
    served: Served,
    events: mpsc::Receiver<Event>,
    driver: Driver,
    _dir: TempDir,
}

fn attached(shape: &Shape) -> Attached {
    let mut shape = shape.clone();
    shape.attach = Attach::VhostUser;
    faulty(&shape, Vec::new())
}

/// Two queues, and what a `[[fault]]` says.
fn with_fault(fault: &str) -> Attached {
    let text =
        format!("[device]\nkind = 'block'\nqueues = 2\nattach = 'vhost-user'\n[[fault]]\n{fault}");
    let mut devices = misfire_device::file::read("test.toml".as_ref(), &text).unwrap();
    let device = devices.remove(0);
    faulty(&device.shape, device.faults)
}

fn faulty(shape: &Shape, faults: Vec<Fault>) -> Attached {
    let dir = tempfile::tempdir().unwrap();
    let (tell, events) = mpsc::channel();
    let journal = Journal::new(Box::new(move |event| {
        let _ = tell.send(event);
    }));
    let served = serve(0, shape, faults, 1, dir.path(), Arc::clone(&journal)).unwrap();
    let driver = Driver::connect(&dir.path().join("dev0"), shape.queues);
    Attached {
        served,
        events,
        driver,
        _dir: dir,
    }
}

/// What is recorded of the device, in words.
fn told(events: impl Iterator<Item = Event>) -> Vec<String> {
    events
        .map(|event| match event.what {
            What::Hello(_) => "hello".into(),
            What::Ring(r) => format!("ring q{} {}/{}", r.q, r.avail_idx, r.used_idx),
            What::Chain(c) => format!("chain {} of {} descriptors {:?}", c.head, c.count, c.flaws),
            What::Step(step) => {
                assert_eq!(step.part, Part::Backend);
                let effects: Vec<_> = step.shown.iter().map(|e| format!(" -> {e}")).collect();
                format!("{}{}", step.input, effects.concat())
            }
            other => panic!("{other}"),
        })
        .collect()
}

#[test]
fn the_trace_tells_notification_chain_completion_and_interrupt() {
    let mut attached = attached(&shape(2));
    attached.driver.start(u64::MAX);
    attached.driver.queue(1).read(0, 512).unwrap();
    attached.driver.stop();
    let told = told(attached.events.try_iter());
    assert_eq!(told[0], "hello");
    let kick = told.iter().position(|t| t == "kick q1").unwrap();
    assert_eq!(
        told[kick - 1..],
        [
            "ring q1 1/0",
            "kick q1",
            "chain 0 of 3 descriptors []",
            "q1 chain 0 read 0+1",
            "ring q1 1/0",
            "q1 chain 0 complete, 513 bytes",
            "ring q1 1/1",
            "used buffers in q1 -> call q1",
            "vhost GET_VRING_BASE 0x0",
            "vhost GET_VRING_BASE 0x1",
        ]
    );
}

#[test]
fn a_command_of_the_host_changes_the_capacity_and_the_frontend_is_told() {
    let mut attached = attached(&shape(1));
    let changes = attached.driver.open_backend_channel();
    attached.driver.start(u64::MAX);
    attached.served.host(Host {
        command: "cfg.change".into(),
        args: [("capacity".to_owned(), 4096.into())].into(),
    });
    changes.wait();
    assert_eq!(attached.driver.config(0, 8), 4096u64.to_le_bytes());
    write_and_read_back(&mut attached.driver.queue(0), 4088);
    let told = told(attached.events.try_iter());
    let expected = "configuration 0x0+8 changes -> configuration changed";
    assert!(told.iter().any(|t| t == expected), "{told:#?}");
}

#[test]
fn qemu_is_told_to_make_the_same_function_as_ours() {
    let mut shape = shape(2);
    shape.msix = Some(2);
    let attached = attached(&shape);
    let qemu = attached.served.qemu();
    let socket = attached._dir.path().join("dev0");
    assert_eq!(
        qemu.chardevs,
        [format!("socket,id=misfire-dev0,path={}", socket.display())]
    );
    assert_eq!(
        qemu.device,
        serde_json::json!({
            "driver": "vhost-user-blk-pci-non-transitional",
            "chardev": "misfire-dev0",
            "num-queues": 2,
            "queue-size": 128,
            "vectors": 2,
        })
    );
}

#[test]
fn serving_ends_with_the_socket_gone() {
    let mut attached = attached(&shape(1));
    attached.driver.start(u64::MAX);
    write_and_read_back(&mut attached.driver.queue(0), 0);
    attached.served.shutdown().unwrap();
    assert_eq!(std::fs::read_dir(attached._dir.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupt_that_is_dropped_does_not_come_and_the_next_does() {
    let mut attached = with_fault("on = 'irq.due[q0]'\ndo = 'irq.drop'");
    attached.driver.start(u64::MAX);
    let mut queue = attached.driver.queue(0);
    queue.offer(VIRTIO_BLK_T_FLUSH, 0, None);
    queue.kick();
    // One worker serves both queues: when this is answered, the other was dealt with.
    write_and_read_back(&mut attached.driver.queue(1), 0);
    let mut queue = attached.driver.queue(0);
    assert_eq!((queue.used(), queue.calls()), (1, 0));
    assert_eq!(queue.request(VIRTIO_BLK_T_FLUSH, 0, None), Some((0, 1)));
    let events: Vec<_> = attached.events.try_iter().collect();
    let fired = events
        .iter()
        .position(|e| matches!(e.what, What::Fault(_)))
        .unwrap();
    let What::Step(step) = &events[fired + 1].what else {
        panic!("{}", events[fired + 1]);
    };
    assert_eq!(
        step.meant.as_deref(),
        Some(&[Effect::Call { queue: 0 }][..])
    );
    assert!(step.shown.is_empty());
}

#[test]
fn an_interrupt_that_is_doubled_comes_twice() {
    let mut attached = with_fault("on = 'irq.due[q0]'\ndo = 'irq.dup'\nargs = { gap = '0s' }");
    attached.driver.start(u64::MAX);
    let mut queue = attached.driver.queue(0);
    queue.offer(VIRTIO_BLK_T_FLUSH, 0, None);
    queue.kick();
    write_and_read_back(&mut attached.driver.queue(1), 0);
    assert_eq!(attached.driver.queue(0).calls(), 2);
}

#[test]
fn a_delayed_interrupt_comes_in_its_time() {
    let mut attached = with_fault("on = 'irq.due[q0]'\ndo = 'irq.delay'\nargs = { t = '30ms' }");
    attached.driver.start(u64::MAX);
    let begin = Instant::now();
    let answer = attached
        .driver
        .queue(0)
        .request(VIRTIO_BLK_T_FLUSH, 0, None);
    assert_eq!(answer, Some((0, 1)));
    assert!(begin.elapsed() >= Duration::from_millis(30));
}

#[test]
fn an_interrupt_without_a_cause_comes_when_the_host_says_so() {
    let mut attached = with_fault("on = 'host:now'\ndo = 'irq.spurious'\nargs = { src = 'q1' }");
    attached.driver.start(u64::MAX);
    attached.served.host(Host {
        command: "now".into(),
        args: BTreeMap::new(),
    });
    let queue = attached.driver.queue(1);
    assert_eq!((queue.calls(), queue.used()), (1, 0));
}

#[test]
fn a_configuration_may_change_without_a_word() {
    let mut attached = with_fault(
        "on = 'complete[q0]'\ndo = 'cfg.change'\nargs = { field = 'capacity', val = 9, irq = false }",
    );
    attached.driver.start(u64::MAX);
    attached
        .driver
        .queue(0)
        .request(VIRTIO_BLK_T_FLUSH, 0, None)
        .unwrap();
    assert_eq!(attached.driver.config(0, 8), 9u64.to_le_bytes());
    assert_eq!(attached.driver.queue(0).read(9, 512), Some((1, 0)));
    let told = attached.events.try_iter().filter_map(|e| match e.what {
        What::Step(step) => Some(step.shown),
        _ => None,
    });
    assert!(!told.flatten().any(|effect| effect == Effect::ConfigChanged));
}
