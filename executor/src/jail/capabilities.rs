//! Capabilities: root's privileges beyond other users.
//!
//! A thread has capabilities, and the threads that it starts inherit them. A process in a jail starts no program, and
//! its filters set `no_new_privs`, so no program can regain a capability. The bounding set and the secure bits ensure
//! the same again, if this process may still set them.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use super::ports::Network;

/// Gives up all capabilities that this network does not need.
pub(super) fn give_up(network: &Network) -> io::Result<()> {
    let kept =
        if network.binds_privileged() { CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::empty() };
    // Both changes need a capability that not every user has.
    for capability in CapabilitySet::all() - kept {
        if let Err(Errno::PERM) = remove_capability_from_bounding_set(capability) {
            break;
        }
    }
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    match set_capabilities_secure_bits(bits) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    clear_ambient_capability_set()?;
    let now = rustix::thread::capabilities(None)?.permitted & kept;
    let sets = CapabilitySets { effective: now, permitted: now, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
