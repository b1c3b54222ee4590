//! The mistakes a driver can be told to make. Each is asked for in exactly one place, and changes
//! nothing but what its name says.

macro_rules! mistakes {
    ($($(#[$about:meta])* $mistake:ident = $name:literal)*) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mistake {
            $($(#[$about])* $mistake,)*
        }

        impl Mistake {
            /// All of them with their names.
            pub const ALL: &[(Self, &str)] = &[$((Self::$mistake, $name),)*];
        }
    };
}

mistakes! {
    /// Vectors are written and not read back.
    NoReadBack = "no-read-back"
    /// The processor's vector is written where the message number belongs.
    ApicVectorAsIndex = "apic-vector-as-index"
    /// Vectors are written once and not again after a reset.
    ProgramOnce = "program-once"
    /// The message count is read from the translated descriptor.
    CountFromTranslated = "count-from-translated"
    /// The driver acts as if every message it could use had been granted.
    AssumeAllMessages = "assume-all-messages"
    /// An interrupt object for each port or queue, all from the first descriptor.
    OneObjectPerPort = "one-object-per-port-from-one-descriptor"
    /// The ISR of a line does not read the device's interrupt status.
    IntxIsrNotRead = "intx-isr-not-read"
    /// A line is not accepted.
    NoIntxFallback = "no-intx-fallback"
    /// Too few messages for all are not shared.
    NoSharedVectorFallback = "no-shared-vector-fallback"
    /// The status is not read again after FEATURES_OK.
    NoFeaturesOkCheck = "no-features-ok-check"
    /// The end of a reset is not waited for.
    NoResetWait = "no-reset-wait"
    /// Queues are enabled before their vectors are written.
    QueueVectorAfterEnable = "queue-vector-after-enable"
    /// Queues are notified before DRIVER_OK.
    NotifyBeforeDriverOk = "notify-before-driver-ok"
    /// The ISR status is compared with 1 instead of looking at each bit.
    IsrEqualityTest = "isr-equality-test"
    /// DEVICE_NEEDS_RESET is not acted upon.
    IgnoresNeedsReset = "ignores-needs-reset"
    /// After a surprise removal the queues are notified once more.
    NotifiesAfterRemoval = "notifies-after-removal"
    /// After a surprise removal the requests in flight are not ended.
    RemovalKeepsRequests = "removal-keeps-requests"
    /// After a surprise removal the device is reset, and that is waited for without an end.
    ResetsAfterRemoval = "resets-after-removal"
    /// The device is not reset before D3, and taken to be as it was after it.
    TrustsDeviceAfterD3 = "trusts-device-after-d3"
    /// The device is reset when its interrupts are off, and not before.
    ResetAfterInterruptsOff = "reset-after-interrupts-off"
    /// The messages of the first start are used in every other.
    KeepsMessages = "keeps-messages"
    /// A device that was stopped once takes no requests any more.
    RejectsAfterStop = "rejects-after-stop"
    /// The id of a used element is taken as it is.
    UsedIdUnchecked = "used-id-unchecked"
    /// So much is read of a buffer as the device says it has written.
    UsedLenTrusted = "used-len-trusted"
    /// An index that jumped is waited out.
    IgnoresIndexJump = "ignores-index-jump"
    /// The configuration vector is not read back, the queues' are.
    ConfigVectorUnchecked = "config-vector-unchecked"
    /// Features that others require are not accepted, the others are.
    FeatureWithoutPrerequisite = "feature-without-prerequisite"
    /// Fields of the configuration are read whether their feature is there or not.
    OptionalConfigUnchecked = "optional-config-unchecked"
    /// The messages are divided by the queues of a pair, and nothing keeps one pair.
    ZeroPairs = "zero-pairs"
    /// The answer to a control command is waited for without a limit.
    EndlessControlWait = "endless-control-wait"
    /// The queue of events is notified before DRIVER_OK.
    EventsBeforeDriverOk = "events-before-driver-ok"
    /// The configuration change event gets no vector.
    ConfigVectorNotMapped = "config-vector-not-mapped"
    /// The configuration's vector is written once and not again after a reset.
    ConfigVectorOnce = "config-vector-once"
    /// The configuration is given the last message, and listened for on the first.
    ConfigOnLastMessage = "config-on-last-message"
    /// A shared message is not taken to be about the configuration.
    ConfigUnservedWhenShared = "config-unserved-when-shared"
    /// A shared message is not taken to be about the last queue.
    LastQueueUnservedWhenShared = "last-queue-unserved-when-shared"
    /// Without MSI-X only queues are looked at.
    ConfigUnservedOnLine = "config-unserved-on-line"
    /// The ISR takes the message's number for whether there is a message: number 0 is not claimed.
    MessageIdAsBoolean = "message-id-as-boolean"
    /// The first change of the configuration is served, no other one.
    ConfigServedOnce = "config-served-once"
    /// Every change of the configuration leads to a reset.
    ResetsOnConfigChange = "resets-on-config-change"
    /// The configuration is read without its generation.
    GenerationNotRead = "generation-not-read"
    /// The configuration's generation is read, and not compared.
    GenerationNotCompared = "generation-not-compared"
    /// A device that needs a reset while it is started is left as it is.
    AbandonsNeedsReset = "abandons-needs-reset"
    /// The ISR of a line takes a lock that the driver may hold.
    LockInIsr = "lock-in-isr"
    /// Registers of the configuration that are read-only are written.
    ConfigWritten = "config-written"
    /// DRIVER is set, ACKNOWLEDGE never.
    DriverWithoutAcknowledge = "driver-without-acknowledge"
    /// Features are agreed on before DRIVER is set.
    FeaturesBeforeDriver = "features-before-driver"
    /// A queue is set up before FEATURES_OK.
    QueuesBeforeFeaturesOk = "queues-before-features-ok"
    /// Features are accepted after FEATURES_OK.
    LateFeatures = "late-features"
    /// Device configuration is written before FEATURES_OK.
    EarlyConfigWrite = "early-config-write"
    /// The last queue is enabled after DRIVER_OK.
    LateEnable = "late-enable"
    /// DRIVER_OK is written without ACKNOWLEDGE.
    ClearsStatusBit = "clears-status-bit"
    /// After FAILED other features are tried, with no reset.
    RetriesWithoutReset = "retries-without-reset"
    /// FAILED is not set when initialisation fails.
    FailsSilently = "fails-silently"
    /// The device is not reset when the driver lets go of it.
    LeavesDeviceLive = "leaves-device-live"
    /// After a reset queues are not enabled again.
    NoSetUpAfterReset = "no-set-up-after-reset"
    /// An address is written with 64 bits at once.
    WideQueueAddress = "wide-queue-address"
    /// num_queues is written.
    WritesReadOnlyField = "writes-read-only-field"
    /// A virtio capability is written.
    WritesCapability = "writes-capability"
    /// Queues are disabled by writing 0 to queue_enable.
    DisablesQueues = "disables-queues"
    /// queue_size is written with three quarters of a power of two.
    OddQueueSize = "odd-queue-size"
    /// A queue beyond num_queues is enabled.
    EnablesMissingQueue = "enables-missing-queue"
    /// The BAR is read behind the common configuration.
    AccessOutsideStructures = "access-outside-structures"
    /// A queue's address is written after the queue was enabled.
    AddressAfterEnable = "address-after-enable"
    /// The used ring is two bytes off, until the device asks for a reset.
    MisalignedRing = "misaligned-ring"
    /// The used ring is where the available ring is.
    OverlappingRings = "overlapping-rings"
    /// Every queue is given the memory of queue 0.
    SharesQueueMemory = "shares-queue-memory"
    /// Queue 0 is notified with 32 bits.
    NotifiesWithFourBytes = "notifies-with-four-bytes"
    /// Queue 0 is notified with a value that names no queue.
    NotifiesWithWrongValue = "notifies-with-wrong-value"
    /// Queue 1 is notified where queue 0 has its place.
    NotifiesAtWrongPlace = "notifies-at-wrong-place"
    /// A place behind that of the last queue is notified.
    NotifiesBeyondQueues = "notifies-beyond-queues"
    /// A queue that the driver does not use is notified.
    NotifiesUnusedQueue = "notifies-unused-queue"
    /// Queues are notified after a reset.
    NotifiesAfterReset = "notifies-after-reset"
    /// The end of a queue's reset is not waited for.
    QueueResetNotAwaited = "queue-reset-not-awaited"
    /// A queue is reset, and RING_RESET was not accepted.
    QueueResetUnnegotiated = "queue-reset-unnegotiated"
    /// After its reset a queue is enabled without its size and addresses.
    QueueEnabledWithoutSetUp = "queue-enabled-without-set-up"
    /// After its reset a queue gets no vector.
    QueueVectorNotRestored = "queue-vector-not-restored"
    /// The driver lets a chain lead back to its first descriptor.
    ChainLoops = "chain-loops"
    /// The driver puts what the device writes before what it reads.
    WritableFirst = "writable-first"
    /// The driver uses indirect descriptors without INDIRECT_DESC.
    IndirectUnnegotiated = "indirect-unnegotiated"
    /// The driver puts an indirect descriptor into an indirect table.
    IndirectNested = "indirect-nested"
    /// The driver sets INDIRECT and NEXT in one descriptor.
    IndirectWithNext = "indirect-with-next"
    /// The driver makes an indirect table half a descriptor too long.
    OddTableLength = "odd-table-length"
    /// The driver moves avail.idx by more than the queue's size.
    AvailableIndexJumps = "available-index-jumps"
    /// The driver names a descriptor beyond the table.
    NextOutsideTable = "next-outside-table"
    /// The driver sets a reserved bit of avail.flags.
    AvailableFlagsReserved = "available-flags-reserved"
    /// The driver suppresses interrupts by avail.flags although EVENT_IDX was negotiated.
    AvailableFlagsWithEventIdx = "available-flags-with-event-idx"
    /// The driver enables a queue with used.flags not 0.
    UsedFlagsNotZeroed = "used-flags-not-zeroed"
    /// The driver overwrites the used elements that it has taken.
    WritesUsedRing = "writes-used-ring"
    /// The driver does not move used_event on.
    UsedEventStuck = "used-event-stuck"
    /// The driver links descriptors in another order than they lie in, with IN_ORDER.
    NextOutOfOrder = "next-out-of-order"
    /// The driver gives the device a buffer that is not in memory.
    BufferOutsideMemory = "buffer-outside-memory"
    /// The fourth request of a queue is not told to the device.
    ForgetsNotification = "forgets-notification"
    /// Any vector that reads back is taken for the one that was written.
    AcceptsAnyReadBack = "accepts-any-read-back"
    /// The configuration's vector is written with a line interrupt.
    VectorsWithoutMsix = "vectors-without-msix"
    /// The function's messages are left masked.
    LeavesMessagesMasked = "leaves-messages-masked"
    /// The ISR status is read for each message.
    ReadsIsrWithMsix = "reads-isr-with-msix"
    /// A configuration change on a shared message is told by the ISR status.
    ReliesOnIsrWithMsix = "relies-on-isr-with-msix"
    /// The device is not reset before it is set up.
    NoResetAtStart = "no-reset-at-start"
    /// A feature is accepted that was not offered.
    AcceptsUnofferedFeature = "accepts-unoffered-feature"
    /// A queue is used as large as the device says, whatever that is.
    QueueSizeUnchecked = "queue-size-unchecked"
    /// A configuration that keeps changing is read again for ever.
    UnboundedConfigRetry = "unbounded-config-retry"
    /// The end of a reset is waited for without a limit.
    ResetWaitUnbounded = "reset-wait-unbounded"
    /// Reserved bits of the ISR status are taken for impossible.
    IsrReservedBitsFatal = "isr-reserved-bits-fatal"
    /// An interrupt of the line is claimed although the ISR status is 0.
    ClaimsIsrZero = "claims-isr-zero"
    /// Every message is taken for that of a queue that is there.
    MessageWithoutQueue = "message-without-queue"
    /// A request that is late is waited for without a limit.
    NoWatchdog = "no-watchdog"
    /// The device is given up after twenty interrupts that led to nothing.
    SpuriousGivesUp = "spurious-gives-up"
    /// A configuration interrupt with nothing changed is taken for impossible.
    ConfigInterruptFatal = "config-interrupt-fatal"
    /// After DEVICE_NEEDS_RESET only the first queue is set up again.
    RecoveryForgetsQueues = "recovery-forgets-queues"
    /// DEVICE_NEEDS_RESET is cleared by a write of the status before the reset.
    ClearsNeedsReset = "clears-needs-reset"
    /// A recovery that fails is not tried again.
    OneRecovery = "one-recovery"
    /// DRIVER_OK is set before the interrupts are connected, and what comes until the driver looks is ignored.
    EarlyMessageIgnored = "early-message-ignored"
    /// Of several structures of a type the last is used.
    LastCapability = "last-capability"
    /// A virtio capability of a reserved type ends initialisation.
    ReservedTypeRefused = "reserved-type-refused"
    /// A capability with a reserved BAR is taken for the structure.
    ReservedBarUsed = "reserved-bar-used"
    /// A capability that is longer than its type needs is not taken.
    ExactCapLen = "exact-cap-len"
    /// A structure of more than a page ends initialisation.
    LargeStructureRefused = "large-structure-refused"
    /// A revision other than 1 is refused.
    ExactRevision = "exact-revision"
    /// A device configuration of another length than usual is refused.
    ExactConfigLength = "exact-config-length"
    /// A device without configuration is refused, though its type has none.
    ConfigRequired = "config-required"
    /// The structures are used without having been found.
    CapabilitiesAssumed = "capabilities-assumed"
    /// The vendor data are read without a look at whose they are.
    VendorDataUnchecked = "vendor-data-unchecked"
    /// The window's data are read before the window is turned to anything.
    WindowUnset = "window-unset"
    /// `notify_off_multiplier` is taken to be 4.
    NotifyMultiplierIgnored = "notify-multiplier-ignored"
    /// `queue_notify_off` is taken to be the queue's index.
    NotifyOffIgnored = "notify-off-ignored"
    /// Features that mean nothing to the driver are accepted.
    AcceptsUnknownFeatures = "accepts-unknown-features"
    /// SR_IOV is accepted, and no capability looked for.
    AcceptsSrIov = "accepts-sr-iov"
    /// ACCESS_PLATFORM is not accepted.
    PlatformNotAccepted = "platform-not-accepted"
    /// A feature that means nothing to the driver makes it give up.
    UnknownFeatureRefused = "unknown-feature-refused"
    /// VERSION_1 is not accepted.
    Version1NotAccepted = "version-1-not-accepted"
    /// Bus mastering is switched off.
    BusMasterOff = "bus-master-off"
    /// The line is forbidden by the command register, and waited for.
    LineForbidden = "line-forbidden"
    /// The address of a table entry is wiped, and the entry used.
    EntryUnprogrammed = "entry-unprogrammed"
    /// All messages of the table are asked for, whatever the system allows.
    WholeTable = "asks-for-whole-table"
    /// Descriptors are counted instead of the messages in them.
    CountsDescriptors = "counts-descriptors"
}

/// The word of a set, and the bit in it.
const fn place(mistake: Mistake) -> (usize, u64) {
    let number = mistake as usize;
    (number / 64, 1 << (number % 64))
}

const _: () = assert!(Mistake::ALL.len() <= 256);

/// A set of mistakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes([u64; 4]);

impl Mistakes {
    /// Reads `a,b,c`.
    ///
    /// # Errors
    /// The name that is not a mistake.
    pub fn parse(names: &str) -> Result<Self, &str> {
        names.split(',').try_fold(Self::default(), |set, name| {
            let known = Mistake::ALL.iter().find(|(_, known)| *known == name);
            let (mistake, _) = known.ok_or(name)?;
            let (word, bit) = place(*mistake);
            let mut words = set.0;
            words[word] |= bit;
            Ok(Self(words))
        })
    }

    /// Whether the driver makes this mistake.
    pub fn has(self, mistake: Mistake) -> bool {
        let (word, bit) = place(mistake);
        self.0[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_read_by_its_name_and_alone() {
        for (mistake, name) in Mistake::ALL {
            let set = Mistakes::parse(name).unwrap();
            let made = Mistake::ALL.iter().filter(|(other, _)| set.has(*other));
            assert!(made.map(|(other, _)| other).eq([mistake]), "{name}");
        }
    }

    #[test]
    fn an_unknown_mistake_is_named() {
        assert_eq!(Mistakes::parse("no-read-back,nonsense"), Err("nonsense"));
    }
}
