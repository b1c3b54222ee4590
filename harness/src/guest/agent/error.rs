use std::io;
use std::time::Duration;

/// The agent can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The channel is closed.
    #[error("the guest agent's channel failed at {doing}")]
    Channel {
        /// What was asked for.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("the guest agent refused {doing}: {reason}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// In its words.
        reason: String,
    },
    /// It does not answer.
    #[error("the guest agent did not answer {doing} within {} s", limit.as_secs_f64())]
    Silent {
        /// What was asked for.
        doing: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// It answered with something that is no answer to this.
    #[error("the guest agent answered {doing} with what is no answer to it: {what}")]
    Odd {
        /// What was asked for.
        doing: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl AgentError {
    /// Whether it said something, so that it can be asked for more.
    pub(in crate::guest) fn is_an_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Odd { .. })
    }
}
