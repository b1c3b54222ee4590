//! A TPM in software that somebody else runs (swtpm). It ends with the machine that it was the TPM of, and who runs it
//! starts it again: a machine waits for that.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::MachineError;

/// How long it may take to be there.
const LIMIT: Duration = Duration::from_secs(5);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(50);
/// What asks for its capabilities on its control channel, and what of the answer says that there is one.
const CAPABILITIES: [u8; 4] = 1_u32.to_be_bytes();
const ANSWER: usize = 4;

/// Waits until a TPM answers at a socket.
///
/// # Errors
/// When none does within seconds: why not at last.
pub async fn until_there(socket: &Path) -> Result<(), MachineError> {
    within(socket, LIMIT).await
}

async fn within(socket: &Path, limit: Duration) -> Result<(), MachineError> {
    let end = Instant::now() + limit;
    loop {
        let asked = timeout_at(end, ask(socket)).await;
        let error = match asked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if Instant::now() + PAUSE >= end {
            return Err(MachineError::NoTpm {
                socket: socket.to_owned(),
                limit,
                source: error,
            });
        }
        sleep(PAUSE).await;
    }
}

/// One that is about to end takes a connection and does not answer.
async fn ask(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&CAPABILITIES).await?;
    stream.read_exact(&mut [0; ANSWER]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn one_that_ends_is_waited_for_until_the_next_one_answers() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let serves = tokio::spawn(async move {
            drop(listener.accept().await.unwrap());
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(&[0; 12]).await.unwrap();
            asked
        });
        until_there(&socket).await.unwrap();
        assert_eq!(serves.await.unwrap(), CAPABILITIES);
    }

    #[tokio::test]
    async fn none_is_an_error_that_says_where_and_why() {
        let dir = tempfile::tempdir().unwrap();
        let none = within(&dir.path().join("socket"), 2 * PAUSE).await;
        let error = none.unwrap_err();
        let words = "no TPM answers at ";
        assert!(error.to_string().starts_with(words), "{error}");
        assert!(error.help().unwrap().contains("swtpm socket --tpm2"));
    }
}
