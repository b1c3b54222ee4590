//! How runs are told to stop: at once, but for one whose guest stays for a person; that one is let go,
//! and judged.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// What a run knows of being told to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    told: watch::Receiver<bool>,
    stays: Arc<AtomicBool>,
}

impl Stop {
    /// Of one run among those that `told` is for.
    pub(super) fn of(told: &watch::Receiver<bool>) -> Self {
        Self {
            told: told.clone(),
            stays: Arc::default(),
        }
    }

    /// Nobody tells it.
    pub(super) fn never() -> Self {
        Self::of(&watch::channel(false).1)
    }

    /// From here on its guest stays until it is told.
    pub(super) fn stays(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }

    /// Returns when it is told.
    pub(super) async fn told(&self) {
        if self.told.clone().wait_for(|told| *told).await.is_err() {
            pending().await
        }
    }

    /// Returns when the run is to be dropped: it was told, and no guest of it stays.
    pub(super) async fn ends(&self) {
        self.told().await;
        if self.stays.load(Ordering::Relaxed) {
            pending().await
        }
    }
}
