//! The backend as `attach = "vhost-user"` serves it: traced, and with its interrupts in the hands of
//! an injector.

use std::sync::{Arc, mpsc};

use misfire_device::port::{Journal, Served, serve};
use misfire_device::shape::{Attach, Shape};
use misfire_device::trace::{Event, Host, Part, What};
use tempfile::TempDir;

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
    let dir = tempfile::tempdir().unwrap();
    let (tell, events) = mpsc::channel();
    let journal = Journal::new(Box::new(move |event| {
        let _ = tell.send(event.clone());
    }));
    let served = serve(0, &shape, Vec::new(), 1, dir.path(), Arc::clone(&journal)).unwrap();
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
            "q1 chain 0 read 0+1",
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
    attached.served.shutdown();
    assert_eq!(std::fs::read_dir(attached._dir.path()).unwrap().count(), 0);
}
