//! The injector as a whole.
