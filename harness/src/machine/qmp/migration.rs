//! The state of a machine, kept in a file and taken from one.

use std::io;
use std::path::Path;
use std::time::Duration;

use qapi::qmp;
use tokio::time::timeout;

use super::{Qmp, QmpError};

impl Qmp {
    /// Stops the guest and keeps its state in the file `to`.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer, refuses or fails.
    pub async fn save(&mut self, to: &Path, limit: Duration) -> Result<(), QmpError> {
        self.tell_of_migration().await?;
        self.execute("`stop`", qmp::stop {}).await?;
        let command = qmp::migrate {
            uri: Some(format!("file:{}", to.display())),
            channels: None,
            resume: None,
            detach: None,
        };
        self.execute("`migrate`", command).await?;
        self.migrated("`migrate`", limit).await
    }

    /// Takes the state of a guest from the file `from`; the guest stays stopped.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer, refuses or fails.
    pub async fn restore(&mut self, from: &Path, limit: Duration) -> Result<(), QmpError> {
        self.tell_of_migration().await?;
        let command = qmp::migrate_incoming {
            uri: Some(format!("file:{}", from.display())),
            channels: None,
            exit_on_error: Some(false),
        };
        self.execute("`migrate-incoming`", command).await?;
        self.migrated("`migrate-incoming`", limit).await
    }

    /// Has QEMU tell how a migration goes, and keep each page at a place of its own in the file.
    async fn tell_of_migration(&mut self) -> Result<(), QmpError> {
        use qmp::MigrationCapability as Can;
        let has = |capability| qmp::MigrationCapabilityStatus {
            capability,
            state: true,
        };
        let command = qmp::migrate_set_capabilities {
            capabilities: vec![has(Can::events), has(Can::mapped_ram)],
        };
        self.execute("`migrate-set-capabilities`", command).await?;
        Ok(())
    }

    async fn migrated(&mut self, doing: &str, limit: Duration) -> Result<(), QmpError> {
        let over = |status: &String| status == "completed" || status == "failed";
        match timeout(limit, self.migration.wait_for(over)).await {
            Ok(Ok(status)) if *status == "completed" => Ok(()),
            Ok(Ok(_)) => Err(QmpError::Refused {
                doing: doing.to_owned(),
                reason: "the state could not be carried over".to_owned(),
            }),
            Ok(Err(_)) => Err(QmpError::Channel {
                doing: doing.to_owned(),
                source: io::ErrorKind::NotConnected.into(),
            }),
            Err(_) => Err(QmpError::Silent {
                doing: doing.to_owned(),
            }),
        }
    }
}
