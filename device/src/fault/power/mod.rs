//! Power states of the function.

mod lose_state;

pub(super) use lose_state::VERB as LOSE_STATE;
