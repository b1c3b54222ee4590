//! The console protocol: devices are found and started, then commands are obeyed one at a time.

use crate::driver::args::Args;
use crate::driver::miniport::Miniport;
use crate::driver::port_card::{self, PortCard};
use crate::driver::virtio::spec;
use crate::driver::virtio::{BlockDriver, ConsoleDriver, NetDriver, RngDriver, ScsiDriver};
use crate::driver::{AnyDriver, Outcome, Settings, Workload};
use crate::hal::pci::Function;
use crate::hal::root_port::{Power, RootPort};
use crate::hal::{self, Exit, console, time};
use crate::nt::checks;
use crate::nt::dispatch::{self, Counters};
use crate::nt::pnp::{Device, Failure, Need};
use crate::nt::policy::Grant;
use crate::nt::siblings;
use crate::nt::storport;
use crate::nt::vectors::Vectors;
use crate::params::Params;
use crate::println;
use crate::standin;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The harness puts device N into slot `FIRST_SLOT + N`; the slots above belong to the chipset.
const FIRST_SLOT: u8 = 0x10;
const SLOTS: u8 = 0x0f;
/// Functions without a driver are in the slots from here to the first device.
const FIRST_SIBLING: u8 = 0x08;
/// The processor looks around at least so often, in microseconds.
const LONGEST_SLEEP: u64 = 1_000_000;
/// The slots are looked at so often, in microseconds.
const SLOT_POLL: u64 = 2_000;

/// A command that is not over.
enum Active {
    Load {
        dev: usize,
        reply: String,
    },
    WaitConfig {
        dev: usize,
        deadline: u64,
    },
    Idle {
        deadline: u64,
        before: Vec<Counters>,
    },
}

struct Shell<'a> {
    params: &'a Params,
    devices: Vec<(usize, Device<AnyDriver>)>,
    /// The slots in which devices can come and go.
    slots: Vec<(usize, RootPort)>,
    vectors: Vectors,
    active: Option<Active>,
}

/// Finds and starts the devices, then obeys until `exit`.
pub fn run(params: &Params) -> ! {
    let mut shell = Shell {
        params,
        devices: Vec::new(),
        slots: Vec::new(),
        vectors: Vectors::default(),
        active: None,
    };
    for slot in FIRST_SIBLING..FIRST_SLOT {
        siblings::settle(Function::new(0, slot, 0), &mut shell.vectors);
    }
    for n in 0..SLOTS {
        let function = Function::new(0, FIRST_SLOT + n, 0);
        match RootPort::find(function) {
            Some(port) => {
                shell.slots.push((n.into(), port));
                shell.find(n.into(), port.function());
            }
            None => shell.find(n.into(), function),
        }
    }
    for place in 0..shell.devices.len() {
        let _ = shell.start(place);
    }
    println!("MISFIRE: ready");
    loop {
        shell.turn();
    }
}

fn driver_for(identity: (u16, u16), settings: Settings) -> Option<(&'static str, AnyDriver)> {
    if identity == port_card::IDENTITY {
        let driver = Box::new(PortCard::new(settings));
        return Some(("port-card", AnyDriver::Ports(driver)));
    }
    let (vendor, device) = identity;
    match (vendor == spec::VENDOR).then_some(device)? {
        spec::device::BLOCK | spec::device::LEGACY_BLOCK => {
            let driver = Box::new(BlockDriver::new(settings));
            Some(("block", AnyDriver::Block(driver)))
        }
        spec::device::CONSOLE | spec::device::LEGACY_CONSOLE => {
            let driver = Box::new(ConsoleDriver::new(settings));
            Some(("console", AnyDriver::Console(driver)))
        }
        spec::device::NET | spec::device::LEGACY_NET => {
            let driver = Box::new(NetDriver::new(settings));
            Some(("net", AnyDriver::Net(driver)))
        }
        spec::device::RNG | spec::device::LEGACY_RNG => {
            let driver = Box::new(RngDriver::new(settings));
            Some(("rng", AnyDriver::Rng(driver)))
        }
        spec::device::SCSI | spec::device::LEGACY_SCSI => {
            let driver = Box::new(ScsiDriver::new(settings));
            Some(("scsi", AnyDriver::Scsi(driver)))
        }
        _ => None,
    }
}

fn print_failure(dev: usize, failure: Failure) {
    println!(
        "MISFIRE: dev {dev} failed status={} problem={}",
        failure.status, failure.problem
    );
}

impl Shell<'_> {
    fn find(&mut self, dev: usize, function: Function) {
        let Some(identity) = function.identity() else {
            return;
        };
        let params = &self.params.devices[dev];
        let found = if self.params.image {
            let argument = &self.params.argument;
            let driver = Miniport::new(params.settings, argument, self.params.dump);
            Some(("nt", AnyDriver::Miniport(Box::new(driver))))
        } else {
            driver_for(identity, params.settings)
        };
        println!(
            "MISFIRE: dev {dev} {:02x}:{:02x}.0 {:04x}:{:04x} {}",
            function.bus(),
            function.slot(),
            identity.0,
            identity.1,
            found.as_ref().map_or("unknown", |found| found.0)
        );
        let Some((_, driver)) = found else { return };
        match Device::add(dev, function, params.policy, driver) {
            Ok(device) => self.devices.push((dev, device)),
            Err(failure) => print_failure(dev, failure),
        }
    }

    /// Starts the device and prints what became of it.
    fn start(&mut self, place: usize) -> Result<(), Failure> {
        let (dev, device) = &mut self.devices[place];
        let result = device.start(&mut self.vectors);
        match result {
            Ok(()) => {
                let running = device.driver.running(&device.wdf);
                println!(
                    "MISFIRE: dev {dev} started mode={} granted={} used={} queues={}",
                    running.mode,
                    device.wdf.granted(),
                    running.used,
                    running.queues
                );
            }
            Err(failure) => print_failure(*dev, failure),
        }
        result
    }

    /// One round: interrupts' work, the active command or the next one, sleep.
    fn turn(&mut self) {
        standin::turn();
        for place in 0..self.devices.len() {
            match self.devices[place].1.run() {
                Need::Nothing => {}
                Need::Restart => {
                    self.devices[place].1.stop(&mut self.vectors);
                    let _ = self.start(place);
                }
                Need::Fail(failure) => {
                    self.devices[place].1.stop(&mut self.vectors);
                    print_failure(self.devices[place].0, failure);
                }
            }
        }
        for n in 0..self.slots.len() {
            self.look_at_slot(n);
        }
        if self.takes_commands() {
            console::read_line(|line| self.obey(line));
        }
        self.go_on();
        let idle = self.takes_commands();
        let busy = idle && console::has_line();
        if !busy {
            let deadline = self.deadline();
            time::sleep_until(deadline, || {
                dispatch::is_pending() || idle && console::has_line()
            });
        }
    }

    /// Whether the last command is over, and so is what the drivers began by themselves.
    fn takes_commands(&self) -> bool {
        let mut started = self.devices.iter().filter(|(_, device)| device.started);
        self.active.is_none() && started.all(|(_, device)| device.driver.is_settled())
    }

    /// What came or went, or is asked to go. The slots are polled: their interrupt is not used.
    fn look_at_slot(&mut self, n: usize) {
        let (dev, port) = self.slots[n];
        let mut events = port.take_events();
        let told = standin::take_slot(dev, || {
            self.place(dev).is_none() && port.function().identity().is_some()
        });
        events.attention |= told == standin::Slot::Out;
        events.up |= matches!(told, standin::Slot::In | standin::Slot::Came);
        events.present |= told == standin::Slot::Came;
        let Some(place) = self.place(dev) else {
            if (events.changed || events.up) && events.present {
                port.power(Power::On);
                self.find(dev, port.function());
                if let Some(place) = self.place(dev) {
                    let _ = self.start(place);
                }
            }
            return;
        };
        if !(events.attention || events.changed || events.down) {
            return;
        }
        let device = &mut self.devices[place].1;
        let how = if device.wdf.function.identity().is_some() {
            device.remove(&mut self.vectors);
            "orderly"
        } else {
            println!("PNP: device {dev} does not answer any more");
            device.surprise_remove(&mut self.vectors);
            "surprise"
        };
        self.end_load(place);
        self.devices.remove(place);
        standin::let_go(dev);
        if told == standin::Slot::Quiet {
            port.power(self.params.devices[dev].eject);
        }
        println!("MISFIRE: dev {dev} removed {how}");
    }

    /// The answer of a load whose device is removed.
    fn end_load(&mut self, place: usize) {
        let (n, device) = &mut self.devices[place];
        if let Some(Active::Load { dev, reply: text }) = &self.active
            && dev == n
            && let Some(outcome) = device.driver.poll(&mut device.wdf)
        {
            let fields = format!("{text} {}", outcome.fields);
            reply("load", Outcome { fields, ..outcome });
            self.active = None;
        }
    }

    fn deadline(&self) -> u64 {
        let longest = if self.slots.is_empty() {
            LONGEST_SLEEP
        } else {
            SLOT_POLL
        };
        let soon = time::now() + longest;
        let own = match &self.active {
            Some(Active::WaitConfig { deadline, .. } | Active::Idle { deadline, .. }) => *deadline,
            Some(Active::Load { .. }) | None => u64::MAX,
        };
        let started = self.devices.iter().filter(|(_, device)| device.started);
        let drivers = started.map(|(_, device)| device.driver.deadline());
        let own = drivers.fold(own, u64::min);
        own.min(soon)
    }

    fn place(&self, dev: usize) -> Option<usize> {
        self.devices.iter().position(|(n, _)| *n == dev)
    }

    fn obey(&mut self, line: &str) {
        let args = Args::parse(line);
        let verb = args.word(0);
        if verb.is_empty() {
            return;
        }
        let done = match verb {
            "exit" => self.exit(),
            "idle" => self.idle(&args),
            _ => match args.number("dev", 0).map(|dev| self.place(dev as usize)) {
                Err(reason) => Err(reason),
                Ok(None) => Err("no-device"),
                Ok(Some(place)) => self.obey_device(verb, place, &args),
            },
        };
        match done {
            Ok(None) => {}
            Ok(Some(fields)) => reply(verb, Outcome::ok(fields)),
            Err(reason) => reply(verb, Outcome::failed(reason, String::new())),
        }
    }

    /// A command to a device: the reply, nothing yet, or a word for what went wrong.
    fn obey_device(
        &mut self,
        verb: &str,
        place: usize,
        args: &Args,
    ) -> Result<Option<String>, &'static str> {
        let (dev, device) = &mut self.devices[place];
        let dev = *dev;
        match verb {
            "load" if !device.started => Err("stopped"),
            "load" => {
                device.driver.begin(&mut device.wdf, args)?;
                let reply = format!("op={} dev={dev}", args.word(1));
                self.active = Some(Active::Load { dev, reply });
                Ok(None)
            }
            "device" => self.power(place, args),
            "queue" if args.word(1) == "reset" => {
                let queue = args.number("q", 0)?;
                let known = u16::try_from(queue).map_err(|_| "usage")?;
                device.driver.reset_queue(known)?;
                Ok(Some(format!("op=reset dev={dev} q={queue}")))
            }
            "state" => {
                print_counters(dev);
                let running = device.driver.running(&device.wdf);
                let mode = if device.started {
                    running.mode
                } else {
                    "stopped"
                };
                let state = device.driver.state(&device.wdf);
                Ok(Some(format!("dev={dev} mode={mode} {state}")))
            }
            "wait-config" => {
                let timeout = args.number("timeout_ms", 2000)?;
                let deadline = time::now() + timeout * 1000;
                self.active = Some(Active::WaitConfig { dev, deadline });
                Ok(None)
            }
            _ => Err("usage"),
        }
    }

    fn power(&mut self, place: usize, args: &Args) -> Result<Option<String>, &'static str> {
        let what = args.word(1);
        let (dev, device) = &mut self.devices[place];
        let reply = format!("op={what} dev={dev}");
        match what {
            "stop" => device.stop(&mut self.vectors),
            "start" => self.start_stopped(place)?,
            "restart" => {
                device.stop(&mut self.vectors);
                self.start_stopped(place)?;
            }
            "rebalance" => {
                let grant = args.get("grant").and_then(Grant::parse).ok_or("usage")?;
                device.stop(&mut self.vectors);
                device.set_grant(grant);
                self.start_stopped(place)?;
            }
            "suspend" => device.driver.suspend()?,
            "resume" => device.driver.resume()?,
            "sleep" => device.sleep(),
            "wake" => match device.wake(&mut self.vectors) {
                Ok(()) => {}
                Err(failure) => {
                    print_failure(*dev, failure);
                    return Err("start");
                }
            },
            _ => return Err("usage"),
        }
        Ok(Some(reply))
    }

    fn start_stopped(&mut self, place: usize) -> Result<(), &'static str> {
        if self.devices[place].1.started {
            return Ok(());
        }
        self.start(place).map_err(|_| "start")
    }

    fn idle(&mut self, args: &Args) -> Result<Option<String>, &'static str> {
        let deadline = time::now() + args.number("ms", 100)? * 1000;
        let before = self.devices.iter().map(|(n, _)| dispatch::counters(*n));
        self.active = Some(Active::Idle {
            deadline,
            before: before.collect(),
        });
        Ok(None)
    }

    fn go_on(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        let now = time::now();
        match active {
            Active::Load { dev, reply: text } => {
                let device = self.place(dev).map(|place| &mut self.devices[place].1);
                let outcome = device.and_then(|device| device.driver.poll(&mut device.wdf));
                match outcome {
                    Some(outcome) => {
                        let fields = format!("{text} {}", outcome.fields);
                        reply("load", Outcome { fields, ..outcome });
                    }
                    None => self.active = Some(Active::Load { dev, reply: text }),
                }
            }
            Active::WaitConfig { dev, deadline } => {
                let device = self.place(dev).map(|place| &mut self.devices[place].1);
                match device.and_then(|device| device.driver.take_change()) {
                    Some(change) => {
                        reply("wait-config", Outcome::ok(format!("dev={dev} {change}")));
                    }
                    None if now >= deadline => {
                        reply(
                            "wait-config",
                            Outcome::failed("timeout", format!("dev={dev}")),
                        );
                    }
                    None => self.active = Some(Active::WaitConfig { dev, deadline }),
                }
            }
            Active::Idle { deadline, before } if now < deadline => {
                self.active = Some(Active::Idle { deadline, before });
            }
            Active::Idle { before, .. } => {
                let mut total = [0; 3];
                for ((n, _), before) in self.devices.iter().zip(before) {
                    let now = dispatch::counters(*n);
                    let sum = |counters: &[u32]| counters.iter().sum::<u32>();
                    total[0] += sum(&now.isr) - sum(&before.isr);
                    total[1] += sum(&now.dpc) - sum(&before.dpc);
                    total[2] += now.unclaimed - before.unclaimed;
                }
                let [isr, dpc, unclaimed] = total;
                let fields = format!("isr={isr} dpc={dpc} unclaimed={unclaimed}");
                reply("idle", Outcome::ok(fields));
            }
        }
    }

    /// The system crashes with all devices running, if it is to: the first that runs gets the dump.
    fn dump(&mut self) -> bool {
        let mut started = self.devices.iter_mut().map(|(_, device)| device);
        let Some(device) = started.find(|device| device.started && self.params.dump) else {
            return false;
        };
        let AnyDriver::Miniport(driver) = &mut device.driver else {
            return false;
        };
        driver.dump(&device.wdf);
        true
    }

    fn exit(&mut self) -> ! {
        if !self.dump() {
            for (_, device) in &mut self.devices {
                device.remove(&mut self.vectors);
            }
        }
        for (dev, _) in &self.devices {
            print_counters(*dev);
            storport::port(*dev).print();
            checks::print(*dev);
        }
        println!("MISFIRE: done ok exit");
        println!("MISFIRE: exit");
        hal::exit(Exit::Done)
    }
}

fn reply(verb: &str, outcome: Outcome) {
    let space = if outcome.fields.is_empty() { "" } else { " " };
    match outcome.reason {
        None => println!("MISFIRE: done ok {verb}{space}{}", outcome.fields),
        Some(reason) => println!(
            "MISFIRE: done failed {verb} reason={reason}{space}{}",
            outcome.fields
        ),
    }
}

/// `CNT:` lines: each message that came, and the line.
fn print_counters(dev: usize) {
    let counters = dispatch::counters(dev);
    let device = if dev == 0 {
        String::new()
    } else {
        format!(" dev={dev}")
    };
    for n in (0..dispatch::LINE).filter(|&n| counters.isr[n] != 0) {
        let (isr, dpc) = (counters.isr[n], counters.dpc[n]);
        println!("CNT: message {n} isr={isr} dpc={dpc}{device}");
    }
    let (isr, dpc) = (counters.isr[dispatch::LINE], counters.dpc[dispatch::LINE]);
    let unclaimed = counters.unclaimed;
    if isr != 0 || unclaimed != 0 {
        println!("CNT: line isr={isr} dpc={dpc} unclaimed={unclaimed}{device}");
    }
}
