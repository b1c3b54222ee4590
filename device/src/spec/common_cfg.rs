//! The common configuration structure.

use super::registers;

/// `VIRTIO_MSI_NO_VECTOR`: no message is mapped to the event (4.1.5.1.2.1).
pub const NO_VECTOR: u16 = 0xffff;

registers! {
    /// `struct virtio_pci_common_cfg` (4.1.4.3).
    pub enum CommonCfg, size 0x40 {
        0x00: u32 rw device => DeviceFeatureSelect "device_feature_select",
        0x04: u32 ro device => DeviceFeature "device_feature",
        0x08: u32 rw device => DriverFeatureSelect "driver_feature_select",
        0x0c: u32 rw device => DriverFeature "driver_feature",
        0x10: u16 rw device => ConfigMsixVector "config_msix_vector" = NO_VECTOR,
        0x12: u16 ro device => NumQueues "num_queues",
        0x14: u8  rw device => DeviceStatus "device_status",
        0x15: u8  ro device => ConfigGeneration "config_generation",
        0x16: u16 rw device => QueueSelect "queue_select",
        0x18: u16 rw queue  => QueueSize "queue_size",
        0x1a: u16 rw queue  => QueueMsixVector "queue_msix_vector" = NO_VECTOR,
        0x1c: u16 rw queue  => QueueEnable "queue_enable",
        0x1e: u16 ro queue  => QueueNotifyOff "queue_notify_off",
        0x20: u32 rw queue  => QueueDescLo "queue_desc_lo",
        0x24: u32 rw queue  => QueueDescHi "queue_desc_hi",
        0x28: u32 rw queue  => QueueDriverLo "queue_driver_lo",
        0x2c: u32 rw queue  => QueueDriverHi "queue_driver_hi",
        0x30: u32 rw queue  => QueueDeviceLo "queue_device_lo",
        0x34: u32 rw queue  => QueueDeviceHi "queue_device_hi",
        0x38: u16 ro queue  => QueueNotifConfigData "queue_notif_config_data",
        0x3a: u16 rw queue  => QueueReset "queue_reset",
        0x3c: u16 ro device => AdminQueueIndex "admin_queue_index",
        0x3e: u16 ro device => AdminQueueNum "admin_queue_num",
    }
}
