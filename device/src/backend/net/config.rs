//! What a network device offers: its features and its configuration.

use virtio_bindings::virtio_net as net;

use crate::shape::Shape;
use crate::spec::{MacAddress, NetConfig, net_status};

/// The address of device number `dev` when nothing is said.
pub const fn default_mac(dev: u8) -> MacAddress {
    MacAddress([0x52, 0x54, 0x00, 0x4d, 0x46, dev])
}

/// Speed of the link in units of 1 Mbit/s.
const SPEED: u64 = 10_000;
/// Of the values of `duplex`, that of the layout's text (5.1.4).
const FULL_DUPLEX: u64 = 1;

/// The bits of the network device's own features.
pub fn features(shape: &Shape) -> impl Iterator<Item = u32> {
    let alone = [
        net::VIRTIO_NET_F_MTU,
        net::VIRTIO_NET_F_MAC,
        net::VIRTIO_NET_F_MRG_RXBUF,
        net::VIRTIO_NET_F_STATUS,
        net::VIRTIO_NET_F_SPEED_DUPLEX,
    ];
    let controlled = [
        net::VIRTIO_NET_F_CTRL_VQ,
        net::VIRTIO_NET_F_CTRL_RX,
        net::VIRTIO_NET_F_CTRL_VLAN,
        net::VIRTIO_NET_F_CTRL_RX_EXTRA,
        net::VIRTIO_NET_F_GUEST_ANNOUNCE,
        net::VIRTIO_NET_F_CTRL_MAC_ADDR,
    ];
    let has_control = shape.queues >= 3;
    let many = (shape.pairs() > 1).then_some(net::VIRTIO_NET_F_MQ);
    let controlled = controlled.into_iter().filter(move |_| has_control);
    alone.into_iter().chain(controlled).chain(many)
}

/// The value of a field.
pub fn value(field: NetConfig, shape: &Shape) -> u64 {
    let MacAddress(mac) = shape.mac.unwrap_or(default_mac(0));
    match field {
        NetConfig::Mac0 => mac[0].into(),
        NetConfig::Mac1 => mac[1].into(),
        NetConfig::Mac2 => mac[2].into(),
        NetConfig::Mac3 => mac[3].into(),
        NetConfig::Mac4 => mac[4].into(),
        NetConfig::Mac5 => mac[5].into(),
        NetConfig::Status => net_status::LINK_UP.into(),
        NetConfig::MaxVirtqueuePairs => shape.pairs().into(),
        NetConfig::Mtu => shape.mtu.into(),
        NetConfig::Speed => SPEED,
        NetConfig::Duplex => FULL_DUPLEX,
        NetConfig::RssMaxKeySize
        | NetConfig::RssMaxIndirectionTableLength
        | NetConfig::SupportedHashTypes
        | NetConfig::SupportedTunnelTypes => 0,
    }
}
