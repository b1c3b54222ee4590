//! The eventfds through which the VMM takes interrupts.

use std::fs::File;
use std::os::fd::{FromRawFd, IntoRawFd};

use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
};
use vmm_sys_util::eventfd::EventFd;

use crate::trace::{Input, IrqKind, Message};

/// The wiring of one function.
pub struct Irqs {
    msix: Vec<Option<EventFd>>,
    msi: Vec<Option<EventFd>>,
    intx: Option<EventFd>,
    level: bool,
    /// The VMM took an event of the line, and has not said yet that it takes the next.
    masked: bool,
}

impl Irqs {
    /// Nothing is wired.
    pub fn new(table: u16, msi: u16) -> Self {
        let none = |n: u16| (0..n).map(|_| None).collect();
        Self {
            msix: none(table),
            msi: none(msi),
            intx: None,
            level: false,
            masked: false,
        }
    }

    /// Nothing is wired again: the VMM is gone. Returns what the function is to hear of it.
    pub fn unwire(&mut self) -> Vec<Input> {
        let (msix, msi) = (self.msix.len() as u16, self.msi.len() as u16);
        *self = Self::new(msix, msi);
        let gone = |kind, count| Input::Irqs {
            kind,
            start: 0,
            count,
            wired: false,
        };
        vec![
            gone(IrqKind::Msix, msix),
            gone(IrqKind::Msi, msi),
            gone(IrqKind::Intx, 1),
        ]
    }

    /// Sends a message, if it is wired.
    pub fn send(&self, message: Message) {
        let fds = if message.kind == IrqKind::Msi {
            &self.msi
        } else {
            &self.msix
        };
        if let Some(Some(fd)) = fds.get(usize::from(message.entry)) {
            signal(fd);
        }
    }

    /// Sets the line. The VMM masks it when it takes the event, and says when it is open again.
    pub fn set_line(&mut self, level: bool) {
        self.level = level;
        self.signal_line();
    }

    fn signal_line(&mut self) {
        if let Some(fd) = self.intx.as_ref().filter(|_| self.level && !self.masked) {
            self.masked = true;
            signal(fd);
        }
    }

    /// `VFIO_USER_DEVICE_SET_IRQS`. Returns what the function is to hear of it.
    pub fn set(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        files: Vec<File>,
    ) -> Vec<Input> {
        let action = flags
            & (VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER);
        match index {
            VFIO_PCI_INTX_IRQ_INDEX => self.set_intx(action, flags, files),
            VFIO_PCI_MSI_IRQ_INDEX if action == VFIO_IRQ_SET_ACTION_TRIGGER => {
                wire(&mut self.msi, IrqKind::Msi, flags, start, count, files)
            }
            VFIO_PCI_MSIX_IRQ_INDEX if action == VFIO_IRQ_SET_ACTION_TRIGGER => {
                wire(&mut self.msix, IrqKind::Msix, flags, start, count, files)
            }
            _ => Vec::new(),
        }
    }

    fn set_intx(&mut self, action: u32, flags: u32, files: Vec<File>) -> Vec<Input> {
        let changed = |wired| {
            vec![Input::Irqs {
                kind: IrqKind::Intx,
                start: 0,
                count: 1,
                wired,
            }]
        };
        match action {
            VFIO_IRQ_SET_ACTION_TRIGGER if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 => {
                self.intx = files.into_iter().next().map(eventfd);
                self.masked = false;
                self.signal_line();
                changed(self.intx.is_some())
            }
            VFIO_IRQ_SET_ACTION_TRIGGER if flags & VFIO_IRQ_SET_DATA_NONE != 0 => {
                self.intx = None;
                changed(false)
            }
            VFIO_IRQ_SET_ACTION_UNMASK => {
                self.masked = false;
                self.signal_line();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

fn wire(
    fds: &mut [Option<EventFd>],
    kind: IrqKind,
    flags: u32,
    start: u32,
    count: u32,
    files: Vec<File>,
) -> Vec<Input> {
    let len = fds.len() as u32;
    if flags & VFIO_IRQ_SET_DATA_NONE != 0 && count == 0 {
        fds.fill_with(|| None);
        return vec![Input::Irqs {
            kind,
            start: 0,
            count: len as u16,
            wired: false,
        }];
    }
    let (start, count) = (start.min(len), count.min(len.saturating_sub(start)));
    let given = (files.len() as u32).min(count);
    let mut files = files.into_iter();
    for fd in fds.iter_mut().skip(start as usize).take(count as usize) {
        *fd = files.next().map(eventfd);
    }
    let part = |start: u32, count: u32, wired| Input::Irqs {
        kind,
        start: start as u16,
        count: count as u16,
        wired,
    };
    [
        part(start, given, true),
        part(start + given, count - given, false),
    ]
    .into_iter()
    .filter(|i| !matches!(i, Input::Irqs { count: 0, .. }))
    .collect()
}

fn eventfd(file: File) -> EventFd {
    // SAFETY: the descriptor was just taken out of `file`, so it is open and has no other owner.
    unsafe { EventFd::from_raw_fd(file.into_raw_fd()) }
}

fn signal(fd: &EventFd) {
    // An eventfd whose counter is full is signalled already; a closed VMM hears nothing.
    let _ = fd.write(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Cause;
    use std::os::fd::OwnedFd;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    fn pair() -> (EventFd, File) {
        let fd = EventFd::new(EFD_NONBLOCK).unwrap();
        let other = fd.try_clone().unwrap();
        // SAFETY: the descriptor is owned by nobody else after `into_raw_fd`.
        let owned = unsafe { OwnedFd::from_raw_fd(other.into_raw_fd()) };
        (fd, File::from(owned))
    }

    const EVENTFD: u32 = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;

    #[test]
    fn a_message_reaches_only_its_own_eventfd() {
        let mut irqs = Irqs::new(4, 0);
        let (fd, file) = pair();
        let heard = irqs.set(VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD, 2, 1, vec![file]);
        assert_eq!(
            heard,
            [Input::Irqs {
                kind: IrqKind::Msix,
                start: 2,
                count: 1,
                wired: true
            }]
        );
        for entry in [0, 2, 3, 9] {
            irqs.send(Message {
                kind: IrqKind::Msix,
                entry,
                cause: Cause::Queue(0),
            });
        }
        assert_eq!(fd.read().unwrap(), 1);
    }

    #[test]
    fn a_line_that_stays_up_is_signalled_again_when_it_is_unmasked() {
        let mut irqs = Irqs::new(0, 0);
        let (fd, file) = pair();
        irqs.set(VFIO_PCI_INTX_IRQ_INDEX, EVENTFD, 0, 1, vec![file]);
        irqs.set_line(true);
        irqs.set_line(true);
        assert_eq!(fd.read().unwrap(), 1);
        let unmask = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE;
        irqs.set(VFIO_PCI_INTX_IRQ_INDEX, unmask, 0, 1, vec![]);
        assert_eq!(fd.read().unwrap(), 1);
        irqs.set_line(false);
        irqs.set(VFIO_PCI_INTX_IRQ_INDEX, unmask, 0, 1, vec![]);
        assert!(fd.read().is_err());
    }

    #[test]
    fn wiring_beyond_the_table_is_cut_off() {
        let mut irqs = Irqs::new(2, 0);
        let (_fd, file) = pair();
        assert_eq!(
            irqs.set(
                VFIO_PCI_MSIX_IRQ_INDEX,
                EVENTFD,
                u32::MAX,
                u32::MAX,
                vec![file]
            ),
            []
        );
        let (_fd, file) = pair();
        let heard = irqs.set(VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD, 1, 50, vec![file]);
        assert_eq!(
            heard,
            [Input::Irqs {
                kind: IrqKind::Msix,
                start: 1,
                count: 1,
                wired: true
            }]
        );
    }
}
