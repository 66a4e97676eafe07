//! Converts hardware faults in guest code to traps.
//!
//! Guest code traps by executing an instruction that faults: an illegal one, a division, or an access beyond
//! a memory. A fault counts as the guest's only if all of these conditions hold:
//!
//! * A store is running on this thread.
//! * The stack pointer lies on its activation's stack.
//! * The program counter is at a recorded trap of one of its modules.
//! * If the fault is an access, its address is in the guarded part of one of the store's reserved memories,
//!   or (where untrusted code has its address replaced) in the first page.
//!
//! Any other fault is a bug of this engine or of the host. It goes to the previous signal handler, and ends
//! the process.
//!
//! The code here runs in a signal handler: it allocates nothing and takes no lock. What it reads, the store's
//! instances and their modules' tables, does not change while the store runs.

use std::cell::Cell;
use std::ptr;

use super::activation::Leave;
use super::instance::{InstanceData, StoreCore};
use crate::environ::trap_code::TrapCode;
use crate::runtime::sys::fault_handler::FaultContext;

/// The first page, which no system maps. Accesses of untrusted code outside of its memory go there.
const NULL_PAGE: usize = 4 << 10;

/// The frames that a backtrace keeps.
const MAX_FRAMES: usize = 64;

thread_local! {
    /// The store that runs on this thread. Initialised by a constant and without a destructor, so that a
    /// signal handler may read it.
    static CURRENT: Cell<*const StoreCore> = const { Cell::new(ptr::null()) };
    /// The fault that the handler has recorded, until the thread takes it, right after. As above.
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Takes the fault that has just ended this thread's activation.
pub(crate) fn take_fault() -> Option<Fault> {
    FAULT.take()
}

/// Runs `f` with this store as the thread's current one.
#[inline]
pub(crate) fn with_current<R>(core: *const StoreCore, f: impl FnOnce() -> R) -> R {
    let outer = CURRENT.replace(core);
    let result = f();
    CURRENT.set(outer);
    result
}

/// A trap that was recorded but not reported yet.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: TrapCode,
    pub(crate) pcs: Pcs,
}

/// Code addresses of a stack, innermost first. The first is exact, the others are return addresses.
#[derive(Debug)]
pub(crate) struct Pcs {
    addresses: [usize; MAX_FRAMES],
    count: usize,
}

impl Pcs {
    /// Follows the frame pointers from `frame`, after an exact address if there is one.
    ///
    /// # Safety
    /// `stack` is the whole of a stack that is not running, or whose running part is below `frame`.
    pub(crate) unsafe fn walk(pc: Option<usize>, mut frame: usize, stack: std::ops::Range<usize>) -> Pcs {
        let mut pcs = Pcs { addresses: [0; MAX_FRAMES], count: 0 };
        // The first entry is always the exact one. 0 is in no module.
        pcs.push(pc.unwrap_or(0));
        while stack.contains(&frame) && stack.contains(&(frame + 15)) && frame.is_multiple_of(8) {
            // SAFETY: both words are on the stack, by the condition of the loop.
            let (next, return_address) =
                unsafe { ((frame as *const usize).read(), (frame as *const usize).add(1).read()) };
            if !pcs.push(return_address) || next <= frame {
                break;
            }
            frame = next;
        }
        pcs
    }

    fn push(&mut self, address: usize) -> bool {
        if self.count < MAX_FRAMES {
            self.addresses[self.count] = address;
            self.count += 1;
        }
        self.count < MAX_FRAMES
    }

    /// Returns the addresses, each inside of the instruction that it belongs to.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let exact = self.addresses[..self.count].iter().take(1).copied();
        exact.chain(self.addresses[..self.count].iter().skip(1).map(|address| address.wrapping_sub(1)))
    }
}

/// Handles a fault if it is the guest's: records it, and returns the registers with which the thread
/// continues.
pub(crate) fn handle(at: FaultContext) -> Option<corosensei::trap::TrapHandlerRegs> {
    let FaultContext { pc, sp, frame, access } = at;
    // SAFETY: set by `with_current`, whose caller keeps the store alive; null otherwise.
    let core = unsafe { CURRENT.get().as_ref() }?;
    let handler = core.trap_handler.get()?;
    // The cheap conditions first. Each could hold by accident for a fault of the host, so all have to.
    if !handler.stack_ptr_in_bounds(sp) {
        return None;
    }
    let find = |instance: &InstanceData| {
        instance.module.code.trap_at(pc).map(|code| (code, instance.module.options))
    };
    let (code, options) = core.instances.iter().find_map(|instance| find(instance))?;
    if let Some(address) = access {
        let replaced = options.untrusted && address < NULL_PAGE;
        if code != TrapCode::MemoryOutOfBounds || !(replaced || is_guarded(core, address)) {
            return None;
        }
    }
    // SAFETY: the stack belongs to this activation, which is stopped at the fault.
    let pcs = unsafe {
        Pcs::walk(Some(pc), frame, {
            let (low, high) = core.stack_range.get();
            low..high
        })
    };
    // Recorded before the thread is redirected, which takes it from there.
    FAULT.set(Some(Fault { code, pcs }));
    // SAFETY: the fault is in guest code on the coroutine's stack, and no value in its frames needs to be
    // dropped. The caller updates the interrupted context.
    Some(unsafe { handler.setup_trap_handler(|| Leave::Faulted) })
}

/// Whether an address lies in one of the store's reservations.
fn is_guarded(core: &StoreCore, address: usize) -> bool {
    core.instances.iter().flat_map(|instance| &instance.memories).any(|memory| memory.guards(address))
}
