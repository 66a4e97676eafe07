//! Addresses as guests pass them: a type, a pointer to bytes, a port, and two numbers for version 6 only.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::memory::GuestMemory;
use lunatic_core::Fault;

const V4: u32 = 4;
const V6: u32 = 6;

/// An address that a guest passes.
#[derive(Clone, Copy)]
pub(super) struct AddrIn {
    pub(super) kind: u32,
    pub(super) bytes: u32,
    pub(super) port: u32,
    pub(super) flow_info: u32,
    pub(super) scope_id: u32,
}

/// The place that an address is written to.
#[derive(Clone, Copy)]
pub(super) struct AddrOut {
    pub(super) kind: u32,
    pub(super) bytes: u32,
    pub(super) port: u32,
    pub(super) flow_info: u32,
    pub(super) scope_id: u32,
}

impl AddrIn {
    /// Reads the address. Traps on a bad pointer or type. Only the low half of the port counts.
    pub(super) fn read(self, memory: &GuestMemory<'_>) -> Result<SocketAddr, Fault> {
        let port = self.port as u16;
        match self.kind {
            V4 => Ok((Ipv4Addr::from(memory.read::<4>(self.bytes)?), port).into()),
            V6 => {
                let ip = Ipv6Addr::from(memory.read::<16>(self.bytes)?);
                Ok(SocketAddrV6::new(ip, port, self.flow_info, self.scope_id).into())
            }
            other => Err(Fault::BadAddressType(other)),
        }
    }
}

impl AddrOut {
    /// Writes an address. Fields that version 4 does not have are left unchanged.
    pub(super) fn write(self, memory: &mut GuestMemory<'_>, address: SocketAddr) -> Result<(), Fault> {
        match address {
            SocketAddr::V4(address) => {
                memory.write_u32(self.kind, V4)?;
                memory.write(self.bytes, &address.ip().octets())?;
            }
            SocketAddr::V6(address) => {
                memory.write_u32(self.kind, V6)?;
                memory.write(self.bytes, &address.ip().octets())?;
                memory.write_u32(self.flow_info, address.flowinfo())?;
                memory.write_u32(self.scope_id, address.scope_id())?;
            }
        }
        memory.write(self.port, &address.port().to_le_bytes())
    }
}
