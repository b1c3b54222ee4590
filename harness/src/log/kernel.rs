//! What a Linux kernel says when something is wrong with it.

/// A kind of trouble that a kernel finds in itself, and says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelTrouble {
    /// A processor does one thing without an end, and lets nothing else run.
    SoftLockup,
    /// The same with interrupts off.
    HardLockup,
    /// A task waits for something that does not come, and can't be ended.
    HungTask,
    /// What waits for all processors or tasks waits for one of them.
    RcuStall,
    /// An interrupt comes that no driver says is its own, and is switched off.
    UnclaimedInterrupt,
    /// Something that must not be, after which the kernel goes on.
    Warning,
    /// Something that must not be, which ends what was being done.
    Oops,
    /// The kernel gave up.
    Panic,
}

/// What a line has in it, and has after that, and what that means. The first that fits counts.
const MARKS: &[(&str, &str, KernelTrouble)] = &[
    ("Kernel panic - not syncing", "", KernelTrouble::Panic),
    ("BUG: soft lockup - CPU#", "", KernelTrouble::SoftLockup),
    (
        "Watchdog detected hard LOCKUP",
        "",
        KernelTrouble::HardLockup,
    ),
    ("BUG: workqueue lockup", "", KernelTrouble::HungTask),
    (
        "INFO: task ",
        " blocked for more than ",
        KernelTrouble::HungTask,
    ),
    ("INFO: rcu_", " stall", KernelTrouble::RcuStall),
    ("irq ", ": nobody cared", KernelTrouble::UnclaimedInterrupt),
    ("WARNING: CPU: ", "", KernelTrouble::Warning),
    ("WARNING: ", ", CPU#", KernelTrouble::Warning),
    ("BUG: ", "", KernelTrouble::Oops),
    ("kernel BUG at ", "", KernelTrouble::Oops),
    ("general protection fault", "", KernelTrouble::Oops),
];

impl KernelTrouble {
    /// What a line of the kernel's log says; `None` for one that tells of no trouble.
    ///
    /// ```
    /// use misfire::log::KernelTrouble;
    /// let line = "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1:9]";
    /// assert_eq!(KernelTrouble::of(line), Some(KernelTrouble::SoftLockup));
    /// ```
    pub fn of(line: &str) -> Option<Self> {
        let has = |mark: &str, more: &str| {
            let rest = line.find(mark).map(|at| &line[at + mark.len()..]);
            rest.is_some_and(|rest| rest.contains(more))
        };
        let found = MARKS.iter().find(|(mark, more, _)| has(mark, more));
        found.map(|(_, _, trouble)| *trouble)
    }

    /// Whether the kernel is stuck, and the trouble is not that something went wrong.
    pub const fn is_hang(self) -> bool {
        matches!(
            self,
            Self::SoftLockup | Self::HardLockup | Self::HungTask | Self::RcuStall
        )
    }

    /// What reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SoftLockup => "soft lockup",
            Self::HardLockup => "hard lockup",
            Self::HungTask => "hung task",
            Self::RcuStall => "RCU stall",
            Self::UnclaimedInterrupt => "unclaimed interrupt",
            Self::Warning => "kernel warning",
            Self::Oops => "oops",
            Self::Panic => "panic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_trouble_is_known_by_the_kernels_words() {
        use KernelTrouble::*;
        for (line, trouble) in [
            (
                "watchdog: BUG: soft lockup - CPU#1 stuck for 2s! [hand:93]",
                Some(SoftLockup),
            ),
            (
                "NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [swapper/0:1]",
                Some(SoftLockup),
            ),
            (
                "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 0",
                Some(HardLockup),
            ),
            (
                "INFO: task hand:93 blocked for more than 1 seconds.",
                Some(HungTask),
            ),
            (
                "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
                Some(HungTask),
            ),
            (
                "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                Some(RcuStall),
            ),
            (
                "rcu: INFO: rcu_sched self-detected stall on CPU",
                Some(RcuStall),
            ),
            (
                "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }",
                Some(RcuStall),
            ),
            (
                "irq 10: nobody cared (try booting with the \"irqpoll\" option)",
                Some(UnclaimedInterrupt),
            ),
            (
                "WARNING: CPU: 0 PID: 93 at kernel/irq/manage.c:2031 free_irq+0x2c",
                Some(Warning),
            ),
            (
                "BUG: kernel NULL pointer dereference, address: 0000000000000010",
                Some(Oops),
            ),
            (
                "Oops: general protection fault, probably for non-canonical address",
                Some(Oops),
            ),
            ("kernel BUG at drivers/virtio/virtio.c:301!", Some(Oops)),
            (
                "Kernel panic - not syncing: Attempted to kill init!",
                Some(Panic),
            ),
            (
                "WARNING: kernel/irq/manage.c:2031 at free_irq+0x2c, CPU#0: hand/93",
                Some(Warning),
            ),
            (
                "BUG: scheduling while atomic: irq 24/93/0x00000002",
                Some(Oops),
            ),
            ("INFO: task hand:93 is a friend", None),
            ("virtio_blk virtio0: irq 24: nobody knows", None),
            ("rcu: INFO: rcu_preempt is fine", None),
            (
                "I/O error, dev vda, sector 16 op 0x0:(READ) flags 0x800",
                None,
            ),
            ("MISFIRE: ready", None),
        ] {
            assert_eq!(KernelTrouble::of(line), trouble, "{line}");
        }
    }
}
