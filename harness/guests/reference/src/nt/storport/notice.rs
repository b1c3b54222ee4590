//! What a miniport is told of Plug and Play and of power: requests (`SRB_FUNCTION_PNP`, `SRB_FUNCTION_POWER`), and
//! `HwStorUnitControl` where a miniport has it.
//!
//! Sources: `SRBEX_DATA_PNP`, `SRBEX_DATA_POWER`, `SCSI_PNP_REQUEST_BLOCK`, `SCSI_POWER_REQUEST_BLOCK`,
//! `STOR_DEVICE_CAPABILITIES_EX`; `HW_UNIT_CONTROL` for its control types, their IRQLs, and that a unit whose
//! miniport has `ScsiUnitPower` gets no request of power; `SCSI_ADAPTER_CONTROL_TYPE` for the flush before
//! `ScsiStopAdapter`, for `ScsiAdapterPower` in the place of both the request and `ScsiStopAdapter`, and for
//! `ScsiSetRunningConfig` before `ScsiRestartAdapter`. That a request comes before the control of the same matter is
//! what miniports take for granted that look at one in the other; no page has it.

use super::abi::{ADAPTER_REQUEST, capabilities, control, pnp_action, power, unit_control};
use super::entry::driver;
use super::locks::Callback;
use super::port::{MOST_UNITS, Port, State};
use super::srb::{About, Address, FLUSH, PNP, POWER, Request};
use crate::dbg_print;
use crate::hal::{time, vm};
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::DISPATCH_LEVEL;

/// The request that is used for this; loads, the unit and resets have those below.
const OWN: usize = 66;
/// A miniport needs no device for an answer, in microseconds; one that has a timer set may be at it until the request's
/// own time is over.
const LIMIT_US: u64 = 500_000;

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// A unit.
    Unit(Address),
    /// The adapter.
    Adapter,
}

impl Whom {
    fn flags(self) -> u32 {
        match self {
            Self::Unit(_) => 0,
            Self::Adapter => ADAPTER_REQUEST,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unit(_) => "unit",
            Self::Adapter => "adapter",
        }
    }

    fn address(self) -> Address {
        match self {
            Self::Unit(address) => address,
            Self::Adapter => Address::default(),
        }
    }
}

/// Why an adapter leaves D0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Its resources are taken away, and others may come.
    Stop,
    /// It is removed, and still there.
    Remove,
    /// D3.
    Sleep,
}

const fn request(to: Address, function: u32, about: About, bytes: u32) -> Request {
    Request {
        to,
        cdb: [0; 16],
        length: 0,
        bytes,
        out: false,
        timeout: 10,
        function,
        about,
    }
}

impl Port {
    /// Gives a request to the miniport and waits for it. Whether it came back.
    fn tell(&self, request: &Request) -> bool {
        if self.room(OWN, request.bytes.max(1)).is_none() {
            return true;
        }
        self.start(OWN, request, 0);
        let end = time::now() + u64::from(request.timeout) * 1_000_000;
        let mut is_back = || {
            self.run_timer(time::now());
            self.take_ended(OWN).is_some()
        };
        let mut back = time::poll(LIMIT_US, &mut is_back);
        // It may come back to it in its timer.
        while !back && self.with(|state| state.timer.is_some()) && time::now() < end {
            back = time::poll(LIMIT_US, &mut is_back);
        }
        if !back {
            self.forget(OWN);
        }
        back
    }

    fn tell_and_check(&self, request: &Request, name: &str, whom: Whom) {
        let back = self.tell(request);
        let whom = whom.name();
        let text = format_args!("a request of {name} for the {whom} is not completed");
        checks::check(self.number(), Check::Pnp, back, text);
    }

    fn tell_pnp(&self, action: u32, whom: Whom) {
        let about = About::Pnp(action, whom.flags());
        self.tell_and_check(
            &request(whom.address(), PNP, about, 0),
            "Plug and Play",
            whom,
        );
    }

    fn tell_power(&self, state: u32, whom: Whom) {
        let about = About::Power(state, self.action_for(state), whom.flags());
        self.tell_and_check(&request(whom.address(), POWER, about, 0), "power", whom);
    }

    /// `StorQueryCapabilities`, with the structure as the port driver presets it.
    fn query_capabilities(&self, whom: Whom) {
        if let Some(data) = self.room(OWN, capabilities::SIZE) {
            // SAFETY: the room has this size.
            unsafe {
                core::ptr::write_bytes(data as *mut u8, 0, capabilities::SIZE as usize);
                (data as *mut u16).write(capabilities::VERSION_1);
                ((data + 2) as *mut u16).write(capabilities::SIZE as u16);
            }
        }
        let about = About::Pnp(pnp_action::QUERY_CAPABILITIES, whom.flags());
        let request = request(whom.address(), PNP, about, capabilities::SIZE);
        self.tell_and_check(&request, "Plug and Play", whom);
    }

    /// The adapter runs, and nothing has been asked of it.
    pub fn started(&self) {
        self.ask_line();
        self.ask_what_units_support();
        self.query_capabilities(Whom::Adapter);
    }

    /// A unit has answered for the first time, or after its adapter was started anew.
    pub fn unit_found(&self, unit: Address) {
        self.with(|state| {
            let known = &state.units[..state.unit_count];
            if !known.iter().any(|known| known.0 == unit) && state.unit_count < MOST_UNITS {
                state.units[state.unit_count] = (unit, 0);
                state.unit_count += 1;
            }
        });
        self.query_capabilities(Whom::Unit(unit));
        if self.control_unit(unit, unit_control::START).is_none() {
            self.tell_pnp(pnp_action::START, Whom::Unit(unit));
        }
    }

    /// For each unit that was found; there is one, whether it answers or not.
    fn for_each_unit(&self, act: impl Fn(Address)) {
        let (units, count) = self.with(|state| (state.units, state.unit_count));
        if count == 0 {
            act(Address::default());
        }
        units[..count].iter().for_each(|unit| act(unit.0));
    }

    /// What comes before `ScsiStopAdapter`, with no request out.
    pub fn leaves(&self, why: Leaving) {
        if driver().is_none() {
            return;
        }
        self.for_each_unit(|unit| {
            self.tell(&request(unit, FLUSH, About::Unit, 0));
        });
        match why {
            Leaving::Sleep => {
                self.for_each_unit(|unit| {
                    if self.power_unit(unit, power::D3).is_none() {
                        self.tell_power(power::D3, Whom::Unit(unit));
                    }
                });
                if !self.has(control::POWER) {
                    self.tell_power(power::D3, Whom::Adapter);
                }
            }
            Leaving::Stop => self.tell_pnp(pnp_action::STOP, Whom::Adapter),
            Leaving::Remove => {
                self.for_each_unit(|unit| {
                    if self.control_unit(unit, unit_control::REMOVE).is_none() {
                        self.tell_pnp(pnp_action::REMOVE, Whom::Unit(unit));
                    }
                });
                self.tell_pnp(pnp_action::REMOVE, Whom::Adapter);
            }
        }
    }

    /// D0, after `ScsiRestartAdapter`.
    pub fn awake(&self) {
        if !self.has(control::POWER) {
            self.tell_power(power::D0, Whom::Adapter);
        }
        self.for_each_unit(|unit| {
            if self.power_unit(unit, power::D0).is_none() {
                self.tell_power(power::D0, Whom::Unit(unit));
            }
        });
    }

    /// The device was pulled out: before the adapter's own control.
    pub(super) fn tell_surprise_removal(&self) {
        self.for_each_unit(|unit| {
            if self
                .control_unit(unit, unit_control::SURPRISE_REMOVAL)
                .is_none()
            {
                self.tell_pnp(pnp_action::SURPRISE_REMOVAL, Whom::Unit(unit));
            }
        });
        self.tell_pnp(pnp_action::SURPRISE_REMOVAL, Whom::Adapter);
    }

    fn ask_what_units_support(&self) {
        let Some(driver) = driver().filter(|driver| driver.unit_control != 0) else {
            return;
        };
        let all = self.ask_list(
            Callback::UnitControl,
            driver.unit_control,
            unit_control::TYPES,
        );
        self.with(|state| state.unit_supports = all);
    }

    /// `HwStorUnitControl` at `PASSIVE_LEVEL` with the unit's address, if the miniport supports it.
    fn control_unit(&self, unit: Address, kind: u32) -> Option<()> {
        let address = self.unit_address(unit)?;
        self.call_unit(0, kind, address)
    }

    /// `ScsiUnitPower` at `DISPATCH_LEVEL` with `STOR_UNIT_CONTROL_POWER`.
    fn power_unit(&self, unit: Address, state: u32) -> Option<()> {
        let address = self.unit_address(unit)?;
        let at = vm::allocate(16)?;
        // SAFETY: the memory has this size: an address, an action and a state.
        unsafe {
            (at as *mut u64).write(address);
            ((at + 8) as *mut u32).write(self.action_for(state));
            ((at + 12) as *mut u32).write(state);
        }
        self.call_unit(DISPATCH_LEVEL, unit_control::POWER, at)
    }

    /// `STOR_ADDR_BTL8` of a unit.
    fn unit_address(&self, unit: Address) -> Option<u64> {
        let of = |state: &State| {
            let known = &state.units[..state.unit_count];
            known.iter().position(|known| known.0 == unit)
        };
        let known = self.with(|state| of(state).map(|n| state.units[n].1));
        if let Some(known) = known.filter(|known| *known != 0) {
            return Some(known);
        }
        const BTL8: u16 = 1;
        let at = vm::allocate(16)?;
        // SAFETY: the memory has this size.
        unsafe {
            (at as *mut u16).write(BTL8);
            ((at + 4) as *mut u32).write(4);
            ((at + 8) as *mut [u8; 3]).write([unit.path, unit.target, unit.unit]);
        }
        self.with(|state| {
            if let Some(n) = of(state) {
                state.units[n].1 = at;
            }
        });
        Some(at)
    }

    fn call_unit(&self, level: u8, kind: u32, parameters: u64) -> Option<()> {
        let (supported, extension) =
            self.with(|state| (state.unit_supports[kind as usize], state.extension));
        let driver = driver().filter(|driver| supported && driver.unit_control != 0)?;
        let arguments = [extension, kind.into(), parameters];
        let status = self.call_at(
            level,
            Callback::UnitControl,
            driver.unit_control,
            &arguments,
        );
        // ScsiUnitControlSuccess is 0.
        if status as u32 != 0 {
            dbg_print!("NT: HwStorUnitControl({kind}) returned {}", status as u32);
        }
        Some(())
    }
}
