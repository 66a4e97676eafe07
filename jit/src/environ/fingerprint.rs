//! What compiled code depends on in addition to its module: the sources of this crate and of the
//! instrumenter, and how this crate was built. See `build.rs`.

/// The fingerprints of the sources that decide what native code looks like, and of those that decide what was
/// verified before.
pub(crate) const SOURCES: [&str; 2] = [env!("SOURCE_FINGERPRINT"), lunatic_instrument::SOURCE_FINGERPRINT];

/// A fingerprint of the compiler flags and the profile that this crate was built with.
pub(crate) const BUILD: &str = env!("BUILD_FINGERPRINT");
