//! What is asked of a machine as a whole.

use std::path::Path;
use std::time::Duration;

use qapi::qmp;

use super::{Qmp, QmpError};

/// How long QEMU may take to write down the guest's memory.
const DUMP_LIMIT: Duration = Duration::from_secs(300);

impl Qmp {
    /// Has the screen's picture written to the file `to`, as PNG.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn picture(&mut self, to: &Path) -> Result<(), QmpError> {
        let command = qmp::screendump {
            filename: to.display().to_string(),
            device: None,
            head: None,
            format: Some(qmp::ImageFormat::png),
        };
        self.execute("`screendump`", command).await?;
        Ok(())
    }

    /// Has the guest's memory written to the file `to`, as `win-dmp` or `elf`.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer in time or refuses.
    pub async fn dump(&mut self, to: &Path, format: &str) -> Result<(), QmpError> {
        let doing = format!("`dump-guest-memory {format}`");
        let command = serde_json::json!({
            "paging": false,
            "protocol": format!("file:{}", to.display()),
            "format": format,
        });
        let command = serde_json::from_value(command).map_err(|error| QmpError::Refused {
            doing: doing.clone(),
            reason: error.to_string(),
        })?;
        self.execute_within::<qmp::dump_guest_memory>(&doing, command, DUMP_LIMIT)
            .await?;
        Ok(())
    }

    /// Has the character device `id` listen on a port of this host alone, in place of what it was
    /// connected to; which port.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn open_line(&mut self, id: &str) -> Result<u16, QmpError> {
        let doing = format!("`chardev-change {id}`");
        let refused = |reason: String| QmpError::Refused {
            doing: doing.clone(),
            reason,
        };
        // A port that is free now; QEMU does not tell which one it would take by itself.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| refused(error.to_string()))?
            .port();
        let line =
            format!("chardev-change {id} socket,host=127.0.0.1,port={free},server=on,wait=off");
        match self.monitor(line).await?.trim() {
            "" => Ok(free),
            reason => Err(refused(reason.to_owned())),
        }
    }

    /// Sends every processor a non-maskable interrupt.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn inject_nmi(&mut self) -> Result<(), QmpError> {
        self.execute("`inject-nmi`", qmp::inject_nmi {}).await?;
        Ok(())
    }

    /// Whether the guest runs, in QEMU's word for it.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer.
    pub async fn status(&mut self) -> Result<String, QmpError> {
        let status = self.execute("`query-status`", qmp::query_status {}).await?;
        let word = serde_json::to_value(status.status).unwrap_or_default();
        Ok(word.as_str().unwrap_or("unknown").to_owned())
    }

    /// Bytes that the guest has written to a drive since QEMU was started.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer.
    pub async fn written(&mut self, drive: &str) -> Result<u64, QmpError> {
        let ask = qmp::query_blockstats { query_nodes: None };
        let drives = self.execute("`query-blockstats`", ask).await?;
        let is_it = |name: &Option<String>| name.as_deref() == Some(drive);
        let found = drives.iter().find(|each| is_it(&each.device));
        let bytes = found.map_or(0, |each| each.stats.wr_bytes);
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Adds a character device, given as to `-chardev`.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn add_chardev(&mut self, chardev: &str) -> Result<(), QmpError> {
        let line = format!("chardev-add {chardev}");
        let reason = self.monitor(line.clone()).await?;
        match reason.trim() {
            "" => Ok(()),
            reason => Err(QmpError::Refused {
                doing: format!("`{line}`"),
                reason: reason.to_owned(),
            }),
        }
    }

    /// Lets a guest that was stopped go on.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn go_on(&mut self) -> Result<(), QmpError> {
        self.execute("`cont`", qmp::cont {}).await?;
        Ok(())
    }

    /// Ends QEMU. It may be gone before it answers, which is no error.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub async fn quit(&mut self) -> Result<(), QmpError> {
        match self.execute("quit", qmp::quit {}).await {
            Ok(_) | Err(QmpError::Channel { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
