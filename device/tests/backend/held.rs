//! Devices that let chains wait: for what is sent on another queue, or for the host.

use misfire_device::shape::{Kind, Shape};
use misfire_device::trace::Host;

use crate::driver::Driver;
use crate::served;

const HEADER: usize = 12;

fn frame() -> Vec<u8> {
    let mut bytes = vec![0; HEADER + 60];
    bytes[HEADER..].copy_from_slice(&[0x5a; 60]);
    bytes
}

#[test]
fn a_frame_goes_out_on_one_queue_and_comes_in_on_another() {
    let served = served(&Shape::new(Kind::Net), None);
    let mut driver = Driver::connect(&served.socket, 3);
    driver.start(u64::MAX);
    for _ in 0..20 {
        driver.queue(0).offer_room(2048);
        driver.queue(0).kick();
        driver.queue(1).offer_data(&frame());
        driver.queue(1).kick();
        let (_, length) = driver.queue(0).wait().unwrap();
        assert_eq!(length as usize, HEADER + 60);
        assert_eq!(driver.queue(0).data(HEADER + 60)[HEADER..], [0x5a; 60]);
        driver.queue(1).wait().unwrap();
    }
    // A frame that finds no buffer waits for one.
    driver.queue(1).offer_data(&frame());
    driver.queue(1).kick();
    driver.queue(1).wait().unwrap();
    driver.queue(0).offer_room(2048);
    driver.queue(0).kick();
    driver.queue(0).wait().unwrap();
    assert_eq!((driver.queue(0).used(), driver.queue(1).used()), (21, 21));
}

#[test]
fn a_stop_gives_back_what_waits_and_forgets_what_was_on_the_wire() {
    let served = served(&Shape::new(Kind::Net), None);
    let mut driver = Driver::connect(&served.socket, 3);
    driver.start(u64::MAX);
    driver.queue(0).offer_room(2048);
    driver.queue(0).offer_room(2048);
    driver.queue(0).kick();
    driver.queue(1).offer_data(&frame());
    driver.queue(1).kick();
    driver.queue(0).wait().unwrap();
    driver.queue(1).wait().unwrap();
    assert_eq!(driver.stop(), [1, 1, 0]);
    driver.start(u64::MAX);
    driver.queue(1).offer_data(&frame());
    driver.queue(1).kick();
    driver.queue(1).wait().unwrap();
    driver.stop();
    driver.start(u64::MAX);
    driver.queue(0).offer_room(2048);
    driver.queue(0).kick();
    driver.queue(1).offer_data(&frame());
    driver.queue(1).kick();
    driver.queue(0).wait().unwrap();
    driver.queue(1).wait().unwrap();
    assert_eq!(driver.queue(0).used(), 1, "one frame and not two");
}

#[test]
fn the_host_lets_an_event_go_to_a_driver_that_waits_for_it() {
    let served = served(&Shape::new(Kind::Scsi), None);
    let mut driver = Driver::connect(&served.socket, 3);
    driver.start(u64::MAX);
    for n in 1..4 {
        driver.queue(1).offer_room(16);
        driver.queue(1).kick();
        let args = [("capacity".to_owned(), toml::Value::Integer(n))];
        served.backend.command(&Host {
            command: "cfg.change".into(),
            args: args.into_iter().collect(),
        });
        assert_eq!(driver.queue(1).wait().unwrap().1, 16);
        assert_eq!(driver.queue(1).data(16)[12..], [0x2a, 9, 0, 0]);
    }
}
