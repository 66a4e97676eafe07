//! SQLite's allocator: the program's own, with an account per process.
//!
//! ```text
//! block     │ Header: bytes, account │ bytes visible to SQLite …
//! ```
//!
//! A block is charged to the thread's current owner when it is allocated. Whichever thread frees it credits the same
//! account: connections of different processes share a few blocks. When an account is used up, the allocation fails,
//! and SQLite returns `SQLITE_NOMEM`.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ffi::{c_int, c_void};
use std::sync::Arc;

use libsqlite3_sys as c;

use crate::account::Account;
use crate::owner::Owner;

/// Header of each block.
struct Header {
    /// Bytes visible to SQLite.
    size: usize,
    account: Option<Arc<Account>>,
}

/// Offset of the bytes visible to SQLite; a multiple of the largest alignment.
const OFFSET: usize = size_of::<Header>().next_multiple_of(ALIGN);
const ALIGN: usize = 16;

/// Maximum size of a block: SQLite's own limit, with space for the header.
const MAX_BLOCK: usize = 0x7fff_ff00;

/// The allocator's functions for SQLite.
pub(super) const METHODS: c::sqlite3_mem_methods = c::sqlite3_mem_methods {
    xMalloc: Some(take),
    xFree: Some(free),
    xRealloc: Some(resize),
    xSize: Some(size),
    xRoundup: Some(round_up),
    xInit: Some(init),
    xShutdown: Some(shut_down),
    pAppData: std::ptr::null_mut(),
};

/// Returns the layout of a block of `size` bytes.
fn layout(size: usize) -> Option<Layout> {
    (size <= MAX_BLOCK).then(|| Layout::from_size_align(OFFSET + size, ALIGN).ok()).flatten()
}

/// Returns the bytes charged for a block.
fn weight(size: usize) -> u64 {
    (OFFSET + size) as u64
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn take(size: c_int) -> *mut c_void {
    let Ok(size) = usize::try_from(size) else { return std::ptr::null_mut() };
    let Some(layout) = layout(size) else { return std::ptr::null_mut() };
    let account = Owner::current_account();
    if account.as_ref().is_some_and(|account| !account.take(weight(size))) {
        return std::ptr::null_mut();
    }
    // SAFETY: the layout is at least as large as `Header`, so its size is not zero and the header fits; `ALIGN`
    // suffices for it.
    unsafe {
        let block = alloc(layout);
        if block.is_null() {
            if let Some(account) = account {
                account.give_back(weight(size));
            }
            return std::ptr::null_mut();
        }
        block.cast::<Header>().write(Header { size, account });
        block.add(OFFSET).cast()
    }
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn free(pointer: *mut c_void) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: SQLite frees a block from `take` or `resize` once. A header precedes the block and gives its size, and
    // so the layout it was allocated with.
    unsafe {
        let block = pointer.cast::<u8>().sub(OFFSET);
        let Header { size, account } = block.cast::<Header>().read();
        if let Some(account) = account {
            account.give_back(weight(size));
        }
        let layout = layout(size).expect("the layout was valid when the block was allocated");
        dealloc(block, layout);
    }
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn resize(pointer: *mut c_void, new: c_int) -> *mut c_void {
    let Ok(new) = usize::try_from(new) else { return std::ptr::null_mut() };
    // SAFETY: SQLite resizes a live block, which a header precedes; see `free`. A failed `realloc` leaves the block
    // intact.
    unsafe {
        let block = pointer.cast::<u8>().sub(OFFSET);
        let header = &mut *block.cast::<Header>();
        let old = header.size;
        let (Some(old_layout), Some(new_layout)) = (layout(old), layout(new)) else {
            return std::ptr::null_mut();
        };
        let (more, less) = (new.saturating_sub(old) as u64, old.saturating_sub(new) as u64);
        if header.account.as_ref().is_some_and(|account| !account.take(more)) {
            return std::ptr::null_mut();
        }
        let moved = realloc(block, old_layout, new_layout.size());
        let block = if moved.is_null() { block } else { moved };
        let header = &mut *block.cast::<Header>();
        if let Some(account) = &header.account {
            account.give_back(if moved.is_null() { more } else { less });
        }
        if moved.is_null() {
            return std::ptr::null_mut();
        }
        header.size = new;
        block.add(OFFSET).cast()
    }
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn size(pointer: *mut c_void) -> c_int {
    if pointer.is_null() {
        return 0;
    }
    // SAFETY: a header precedes the live block, as in `free`. The size was a `c_int` when the block was allocated.
    unsafe { (*pointer.cast::<u8>().sub(OFFSET).cast::<Header>()).size as c_int }
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn round_up(size: c_int) -> c_int {
    size.saturating_add(7) & !7
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    c::SQLITE_OK
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn shut_down(_: *mut c_void) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::owner;

    #[test]
    fn blocks_are_charged_to_the_account_that_allocated_them() {
        let owner = owner(1000);
        let account = owner.account();
        let entered = owner.enter();
        // SAFETY: each block comes from this allocator, is used within its size, and is freed once.
        unsafe {
            let block = take(100);
            assert_eq!((size(block), account.used()), (100, weight(100)));
            block.cast::<u8>().add(99).write(7);
            let block = resize(block, 500);
            assert_eq!((block.cast::<u8>().add(99).read(), account.used()), (7, weight(500)));
            assert!(resize(block, 2000).is_null() && take(600).is_null() && take(-1).is_null());
            assert_eq!((size(block), account.used()), (500, weight(500)));
            let block = resize(block, 50);
            drop(entered);
            let unowned = take(2000);
            assert_eq!(account.used(), weight(50));
            free(unowned);
            free(block);
        }
        assert_eq!(account.used(), 0);
    }
}
