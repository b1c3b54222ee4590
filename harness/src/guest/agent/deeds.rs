//! What an agent is asked for: programs and files.

use std::time::Duration;

use qapi::qga::{self, GuestExecCaptureOutput, GuestExecStatus};

use super::{Agent, AgentError, Limit};

/// Bytes of a file that are written at a time, and read.
pub(super) const PIECE: usize = 24 << 10;
/// The most bytes of a file that are read: the last ones.
pub(super) const MOST_READ: usize = 1 << 20;
/// The most files that are remembered to be closed later.
const MOST_LEFT_OPEN: usize = 64;

impl Agent {
    /// Starts a program in the guest, of which nobody asks what becomes of it; its number.
    ///
    /// # Errors
    /// When the agent refuses, or does not answer within `limit`.
    pub async fn start(
        &mut self,
        path: &str,
        args: &[&str],
        limit: Duration,
    ) -> Result<i64, AgentError> {
        self.exec(path, args, None, limit).await
    }

    /// The same; [`Agent::status`] tells what it printed.
    ///
    /// # Errors
    /// When the agent refuses, or does not answer within `limit`.
    pub async fn run(
        &mut self,
        path: &str,
        args: &[&str],
        limit: Duration,
    ) -> Result<i64, AgentError> {
        let capture = Some(GuestExecCaptureOutput::flag(true));
        self.exec(path, args, capture, limit).await
    }

    async fn exec(
        &mut self,
        path: &str,
        args: &[&str],
        capture_output: Option<GuestExecCaptureOutput>,
        limit: Duration,
    ) -> Result<i64, AgentError> {
        let exec = qga::guest_exec {
            path: path.to_owned(),
            arg: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
            env: None,
            input_data: None,
            capture_output,
        };
        Ok(self.call(&exec, Limit::of(limit)).await?.pid)
    }

    /// What a program came to. That it has ended is told once.
    ///
    /// # Errors
    /// When the agent refuses, or does not answer within `limit`.
    pub async fn status(
        &mut self,
        pid: i64,
        limit: Duration,
    ) -> Result<GuestExecStatus, AgentError> {
        let status = qga::guest_exec_status { pid };
        self.call(&status, Limit::of(limit)).await
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// When the agent refuses, or has not done it within `limit`.
    pub async fn write(
        &mut self,
        path: &str,
        bytes: &[u8],
        limit: Duration,
    ) -> Result<(), AgentError> {
        let limit = Limit::of(limit);
        let handle = self.open_as(path, "wb", limit).await?;
        let written = self.put(handle, bytes, limit).await;
        self.closing(handle, written, limit).await
    }

    /// The last bytes of a file in the guest, at most a mebibyte.
    ///
    /// # Errors
    /// When the agent refuses, or has not given them within `limit`.
    pub async fn read(&mut self, path: &str, limit: Duration) -> Result<Vec<u8>, AgentError> {
        let limit = Limit::of(limit);
        let handle = self.open_as(path, "rb", limit).await?;
        let read = self.get(handle, limit).await;
        self.closing(handle, read, limit).await
    }

    /// Opens a file in the guest for [`Agent::send_to`], and leaves it open.
    ///
    /// # Errors
    /// When the agent refuses, or does not answer within `limit`.
    pub async fn open_file(&mut self, path: &str, limit: Duration) -> Result<i64, AgentError> {
        self.open_as(path, "w", Limit::of(limit)).await
    }

    /// Writes to an open file, such as a pipe that somebody reads.
    ///
    /// # Errors
    /// When the agent refuses, or has not done it within `limit`.
    pub async fn send_to(
        &mut self,
        handle: i64,
        bytes: &[u8],
        limit: Duration,
    ) -> Result<(), AgentError> {
        let limit = Limit::of(limit);
        self.put(handle, bytes, limit).await?;
        self.call(&qga::guest_file_flush { handle }, limit).await?;
        Ok(())
    }

    async fn open_as(&mut self, path: &str, mode: &str, limit: Limit) -> Result<i64, AgentError> {
        while let Some(handle) = self.left_open.last().copied() {
            match self.call(&qga::guest_file_close { handle }, limit).await {
                Err(error) if !error.is_an_answer() => return Err(error),
                _ => self.left_open.pop(),
            };
        }
        let open = qga::guest_file_open {
            path: path.to_owned(),
            mode: Some(mode.to_owned()),
        };
        self.call(&open, limit).await
    }

    async fn put(&mut self, handle: i64, mut bytes: &[u8], limit: Limit) -> Result<(), AgentError> {
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(PIECE)];
            let write = qga::guest_file_write {
                handle,
                buf_b64: piece.to_vec(),
                count: None,
            };
            let count = self.call(&write, limit).await?.count;
            // It may take less than it was given.
            let taken = usize::try_from(count).ok();
            match taken.filter(|taken| (1..=piece.len()).contains(taken)) {
                Some(taken) => bytes = &bytes[taken..],
                None => {
                    let what = format!("it wrote {count} of {} bytes", piece.len());
                    return Err(AgentError::Odd {
                        doing: "guest-file-write",
                        what,
                    });
                }
            }
        }
        Ok(())
    }

    async fn get(&mut self, handle: i64, limit: Limit) -> Result<Vec<u8>, AgentError> {
        let read = qga::guest_file_read {
            handle,
            count: Some(PIECE as i64),
        };
        let mut bytes = Vec::new();
        loop {
            let got = self.call(&read, limit).await?;
            let piece = got.buf_b64;
            if got.count != piece.len() as i64 || piece.len() > PIECE {
                let what = format!(
                    "{} bytes of {PIECE}, of which it says that they are {}",
                    piece.len(),
                    got.count
                );
                return Err(AgentError::Odd {
                    doing: "guest-file-read",
                    what,
                });
            }
            let is_last = piece.is_empty() || got.eof;
            bytes.extend(piece);
            if is_last || bytes.len() > 2 * MOST_READ {
                bytes.drain(..bytes.len().saturating_sub(MOST_READ));
            }
            if is_last {
                return Ok(bytes);
            }
        }
    }

    /// Closes a file with which something was `done`: at once if the agent answers, else before the next one is
    /// opened.
    async fn closing<T>(
        &mut self,
        handle: i64,
        done: Result<T, AgentError>,
        limit: Limit,
    ) -> Result<T, AgentError> {
        if done.as_ref().is_err_and(|error| !error.is_an_answer()) {
            self.leave_open(handle);
            return done;
        }
        match self.call(&qga::guest_file_close { handle }, limit).await {
            Ok(_) => done,
            Err(error) => {
                if !error.is_an_answer() {
                    self.leave_open(handle);
                }
                done.and(Err(error))
            }
        }
    }

    fn leave_open(&mut self, handle: i64) {
        if self.left_open.len() < MOST_LEFT_OPEN {
            self.left_open.push(handle);
        }
    }
}
