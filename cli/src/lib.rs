//! What the two commands share.
#![forbid(unsafe_code)]
