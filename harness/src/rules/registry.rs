//! What a rule is, and the list of all.

use serde::Serialize;

use super::machine::Watch;
use super::{
    acc, cap, cfg, feat, init, isr, leg, logged, msix, msix_use, nr, ntf, pci, pkd, q, qrst, rings,
    rob, rst, spl, survive, sus, unobserved, win_msi, win_ndis, win_pnp, win_shape, win_spt,
    win_use,
};

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// MUST or MUST NOT in the specification.
    Must,
    /// SHOULD or SHOULD NOT in the specification.
    Should,
    /// MAY: told for information.
    May,
    /// No single sentence asks for it, but the device can't work otherwise.
    Derived,
    /// Asked for by the operating system's documents, not by the specification.
    Vendor,
}

impl Level {
    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
            Self::Derived => "derived",
            Self::Vendor => "vendor",
        }
    }
}

/// What of a device has to be seen for a rule to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The accesses of registers: not to be had with `attach = "vhost-user"`.
    Registers,
    /// What the backend, the guest's log or the harness tell.
    Anything,
}

/// The interface that a driver has to use for a rule to be about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Whichever it uses.
    Either,
    /// The structures that the capabilities describe.
    Modern,
    /// The legacy registers (4.1.4.10).
    Legacy,
}

/// A rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its id: family and number.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What it asks for.
    pub sentence: &'static str,
    /// Document and section, and the bugs that made it worth a rule.
    pub source: &'static str,
    /// What would break it.
    pub breaks: &'static str,
    /// How it is told from a trace, where that is not plain from the sentence.
    pub proof: &'static str,
    /// Rules whose breach makes this one break as a mere consequence: a report names those first.
    pub follows: &'static [&'static str],
    /// Whether it is judged also where the device itself broke the specification.
    pub robust: bool,
    /// Whether it is judged also of a device that was pulled out of its slot.
    pub gone: bool,
    /// Whether it is about virtio, or about any PCI function.
    pub virtio: bool,
    /// By which interface the driver has to reach the device.
    pub way: Way,
    /// What has to be seen.
    pub sight: Sight,
    /// Why nothing that is seen can decide it: the rule is listed and never judged. None: it is judged.
    pub unobservable: Option<&'static str>,
    /// It is judged only for another guest than the reference guest, and proven by the tests of that: which.
    pub elsewhere: Option<&'static str>,
    pub(super) watch: Watch,
}

impl Rule {
    /// A rule about a virtio driver that is judged from register accesses. Families fill the rest in.
    pub(super) const BASE: Self = Self {
        id: "",
        level: Level::Must,
        sentence: "",
        source: "",
        breaks: "",
        proof: "",
        follows: &[],
        robust: false,
        gone: false,
        virtio: true,
        way: Way::Either,
        sight: Sight::Registers,
        unobservable: None,
        elsewhere: None,
        watch: Watch::Each(|_, _| ()),
    };
    /// One about what the legacy interface does not have.
    pub(super) const MODERN: Self = Self {
        way: Way::Modern,
        ..Self::BASE
    };
    /// One about the legacy interface.
    pub(super) const LEGACY: Self = Self {
        way: Way::Legacy,
        ..Self::BASE
    };
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Rules about one thing.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// What the ids begin with.
    pub name: &'static str,
    /// What they are about.
    pub title: &'static str,
    /// The rules, by number.
    pub rules: &'static [Rule],
}

/// Every rule.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "VIO-INIT",
        title: "the order of initialisation",
        rules: init::RULES,
    },
    Family {
        name: "VIO-FEAT",
        title: "feature negotiation",
        rules: feat::RULES,
    },
    Family {
        name: "VIO-RST",
        title: "reset",
        rules: rst::RULES,
    },
    Family {
        name: "VIO-QRST",
        title: "the reset of one queue",
        rules: qrst::RULES,
    },
    Family {
        name: "VIO-ACC",
        title: "accesses of registers",
        rules: acc::RULES,
    },
    Family {
        name: "VIO-CAP",
        title: "capabilities and the structures they describe",
        rules: cap::RULES,
    },
    Family {
        name: "VIO-PCI",
        title: "the PCI function",
        rules: pci::RULES,
    },
    Family {
        name: "VIO-ADM",
        title: "administration virtqueues: what can't be judged",
        rules: unobserved::ADM,
    },
    Family {
        name: "VIO-SUS",
        title: "suspend",
        rules: sus::RULES,
    },
    Family {
        name: "VIO-Q",
        title: "the set-up of queues",
        rules: q::RULES,
    },
    Family {
        name: "VIO-MSIX",
        title: "vectors: mapping",
        rules: msix::RULES,
    },
    Family {
        name: "VIO-MSIX",
        title: "vectors: use",
        rules: msix_use::RULES,
    },
    Family {
        name: "VIO-ISR",
        title: "the interrupt status register",
        rules: isr::RULES,
    },
    Family {
        name: "VIO-NTF",
        title: "notifications to the device",
        rules: ntf::RULES,
    },
    Family {
        name: "VIO-CFG",
        title: "device configuration",
        rules: cfg::RULES,
    },
    Family {
        name: "VIO-NR",
        title: "DEVICE_NEEDS_RESET",
        rules: nr::RULES,
    },
    Family {
        name: "VIO-SPL",
        title: "the split ring",
        rules: spl::RULES,
    },
    Family {
        name: "VIO-SPL",
        title: "the split ring: what can't be judged",
        rules: unobserved::SPL,
    },
    Family {
        name: "VIO-PKD",
        title: "the packed ring",
        rules: pkd::RULES,
    },
    Family {
        name: "VIO-PKD",
        title: "the packed ring: what can't be judged",
        rules: unobserved::PKD,
    },
    Family {
        name: "WIN-MSI",
        title: "messages as Windows grants them",
        rules: win_msi::RULES,
    },
    Family {
        name: "WIN-MSI",
        title: "messages that are switched off, or change",
        rules: win_pnp::MSI,
    },
    Family {
        name: "WIN-PNP",
        title: "devices that come, go and sleep",
        rules: win_pnp::PNP,
    },
    Family {
        name: "WIN-STOR",
        title: "what storage owes to its requests",
        rules: win_pnp::STOR,
    },
    Family {
        name: "WIN-MSI",
        title: "message capabilities as Windows uses them",
        rules: win_shape::RULES,
    },
    Family {
        name: "VIO-LEG",
        title: "the legacy interface",
        rules: leg::RULES,
    },
    Family {
        name: "WIN-NDIS",
        title: "network adapters on Windows",
        rules: win_ndis::RULES,
    },
    Family {
        name: "WIN-SPT",
        title: "StorPort miniports on the model of Windows",
        rules: win_spt::RULES,
    },
    Family {
        name: "WIN-DUMP",
        title: "crash dumps",
        rules: unobserved::DUMP,
    },
    Family {
        name: "WIN-MSI",
        title: "messages while the device works",
        rules: win_use::RULES,
    },
    Family {
        name: "WIN-SYS",
        title: "the system as a whole",
        rules: win_use::SYSTEM,
    },
    Family {
        name: "ROB",
        title: "robustness when registers, the line or the link misbehave",
        rules: survive::RULES,
    },
    Family {
        name: "ROB",
        title: "robustness when the device misbehaves",
        rules: rob::RULES,
    },
    Family {
        name: "ROB",
        title: "robustness when a used ring is not as it should be",
        rules: rings::RULES,
    },
    Family {
        name: "LOG",
        title: "what the driver says against what the device saw",
        rules: logged::RULES,
    },
];

/// Every rule, in the order of the families.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.iter().flat_map(|f| f.rules)
}

/// The rule with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|r| r.id == id)
}
