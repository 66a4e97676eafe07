//! Stores that have ended, made new for the next of the same module.
//!
//! Most of what making and dropping a store costs is taking things from pools and giving them back: a stack, a slot for the
//! memory, lists of both, and a dozen references that all threads count. The next store of the module takes the same
//! again. So one that ends with a single instance, as it was made, is not taken apart: it is put on a *shelf* without its
//! data. Who takes it from there gives it new limits, writes the globals, and copies data that is no image.
//!
//! Its memory is zeroed as it would be for the pool, but for several spares at a time, just before they are needed or when
//! too many of them have gathered: whether it is known which pages that takes (`vm/residency.rs`) is a question to the
//! system, which costs as much as a sixth of a short process's life, and one answer does for all that have ended before.
//!
//! A module has several shelves, and a thread takes from one of them; a store goes back to where it came from. So threads
//! do not meet, neither at a lock nor at the count of the references that each store has of its shelf. A spare belongs to
//! its shelf and refers to it; the circle is broken by closing the shelves with the last handle of the linked module.

use std::mem::ManuallyDrop;
use std::ops::RangeBounds;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Linked;
use super::{Instance, Store, StoreInner, StoreLimits};
use crate::runtime::error::InstantiateError;
use crate::runtime::instantiate;
use crate::runtime::perf::residency::Faults;
use crate::runtime::pool_capacity::PoolCapacity;
use crate::runtime::vm::memory_budget::MemoryBudget;
use crate::runtime::vm::template::Template;
use crate::runtime::vm::thread;

/// Shelves of a module: as many threads do not meet.
const SHARDS: usize = 8;

/// Spares that are made new at a time. All of them are used in turn, so more would not stay in the nearest cache.
const BATCH: usize = 8;

/// Bytes of slots from which on a spare is made new when it ends: what it has used is not to lie around.
const LARGE: usize = 2 << 20;

/// By how many the room of a shelf grows and shrinks.
const STEP: usize = 32;

/// The spare stores of a linked module. Closed when it is dropped.
pub(crate) struct FreeList<T>([Arc<Shard<T>>; SHARDS]);

/// Those of some threads, in lines of its own.
#[repr(align(128))]
pub(super) struct Shard<T> {
    content: Mutex<Content<T>>,
    /// What it has its room from.
    room: Arc<PoolCapacity>,
}

struct Content<T> {
    new: Vec<PooledInstance<T>>,
    /// Those that are yet to be made new: fewer than two batches, for what they have used is still there.
    used: Vec<PooledInstance<T>>,
    /// How many it may have.
    room: usize,
    is_open: bool,
}

impl<T> FreeList<T> {
    /// Empty ones, whose room is taken from this.
    pub(crate) fn new(room: &Arc<PoolCapacity>) -> FreeList<T> {
        FreeList(std::array::from_fn(|_| {
            let content = Content { new: Vec::new(), used: Vec::new(), room: 0, is_open: true };
            Arc::new(Shard { content: Mutex::new(content), room: room.clone() })
        }))
    }

    /// The one of the thread that calls.
    fn mine(&self) -> &Arc<Shard<T>> {
        &self.0[thread::number() as usize % SHARDS]
    }
}

impl<T> Drop for FreeList<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(|shard| shard.close());
    }
}

impl<T> Shard<T> {
    fn take(&self) -> Option<PooledInstance<T>> {
        let mut content = self.lock();
        if content.new.is_empty()
            && let Some(first) = content.used.len().checked_sub(BATCH)
        {
            content.renew(first..);
        }
        let pooled = content.new.pop()?;
        // What is far from being used is others'.
        if content.room - content.len() > 2 * STEP {
            content.room -= STEP;
            self.room.give_back(STEP);
        }
        Some(pooled)
    }

    /// Puts a spare back, or drops it if there is no room.
    fn put(&self, pooled: PooledInstance<T>) {
        let mut content = self.lock();
        if content.len() == content.room && content.is_open && self.room.take(STEP) {
            content.room += STEP;
        }
        if content.len() < content.room {
            content.put(pooled);
            return;
        }
        drop(content);
        drop(pooled);
    }

    /// Drops what it has, and has no more.
    fn close(&self) {
        let mut content = self.lock();
        content.is_open = false;
        self.room.give_back(std::mem::take(&mut content.room));
        let (new, used) = (std::mem::take(&mut content.new), std::mem::take(&mut content.used));
        drop(content);
        drop((new, used));
    }

    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        self.content.lock().expect("no panic while it is held")
    }
}

impl<T> Content<T> {
    fn len(&self) -> usize {
        self.new.len() + self.used.len()
    }

    fn put(&mut self, pooled: PooledInstance<T>) {
        if pooled.is_new {
            self.new.push(pooled);
            return;
        }
        self.used.push(pooled);
        if self.used.len() == 2 * BATCH {
            // The last ones may be needed at once, and are in the cache then.
            self.renew(..BATCH);
        }
    }

    /// Makes some of the used ones new.
    fn renew(&mut self, which: impl RangeBounds<usize>) {
        let faults = Faults::until_now();
        let renewed = self.used.drain(which).map(|mut pooled| {
            pooled.renew(faults);
            pooled
        });
        self.new.extend(renewed);
    }
}

/// A store without data, in which nothing runs. As a new one it is as it was when its instance was made, but for what
/// [`Store::renewed`] does.
pub(super) struct PooledInstance<T> {
    store: NonNull<StoreInner<T>>,
    is_new: bool,
}

// SAFETY: there is no `T` in it. Whatever else it has belongs to no thread.
unsafe impl<T> Send for PooledInstance<T> {}

impl<T> Drop for PooledInstance<T> {
    fn drop(&mut self) {
        // SAFETY: a spare is its store's only owner, and that has no data.
        unsafe { StoreInner::free(self.store) };
    }
}

impl<T> PooledInstance<T> {
    fn renew(&mut self, faults: Faults) {
        // SAFETY: it is the store's only owner, and nothing runs.
        let core = unsafe { &mut (*self.store.as_ptr()).core };
        core.instances[0].renew(faults);
        self.is_new = true;
    }
}

impl<T: Send + 'static> Store<T> {
    /// A store with an instance of the module: as [`Store::new`] and [`Store::instantiate`], but cheaper for those that
    /// end and are followed by others of the same module. Where there is no instance, the store is empty.
    ///
    /// The memory, the stack and whatever else it consists of may be what an earlier one has left. The guest, and who
    /// looks at it from outside, cannot tell: all that could be seen of the earlier one is gone.
    pub fn with_instance(
        linked: &Linked<T>,
        data: T,
        limits: StoreLimits,
    ) -> (Store<T>, Result<Instance, InstantiateError>) {
        let engine = &linked.module().inner.engine;
        if !engine.is_default_stack(limits.stack_size) {
            return Store::with_other_stacks(linked, data, limits);
        }
        let shard = linked.inner.free_list.mine();
        if let Ok(template) = &*linked.inner.template
            && let Some(pooled) = shard.take()
        {
            let mut memory = MemoryBudget::new(limits.max_memory, limits.total.clone());
            let has_room = template.table_entries <= limits.max_table_elements
                && memory.charge(template.memory_bytes).is_ok();
            if has_room {
                let store = Store::renewed(pooled, data, memory, limits.max_table_elements, linked, template);
                return (store, Ok(Instance(0)));
            }
            shard.put(pooled);
        }
        let mut store = Store::new(engine, data, limits);
        let instance = store.instantiate(linked);
        if instance.is_ok() {
            store.inner_mut().shard = Some(shard.clone());
        }
        (store, instance)
    }

    /// As [`Store::with_instance`], where no spare will do: they have the usual stacks. Apart from it, so that the data is not
    /// moved once more on the usual way.
    #[cold]
    #[inline(never)]
    fn with_other_stacks(
        linked: &Linked<T>,
        data: T,
        limits: StoreLimits,
    ) -> (Store<T>, Result<Instance, InstantiateError>) {
        let mut store = Store::new(&linked.module().inner.engine, data, limits);
        let instance = store.instantiate(linked);
        (store, instance)
    }

    /// Gives a spare what it lacks: data, limits that have what it begins with accounted for, and the module's initial
    /// values.
    fn renewed(
        pooled: PooledInstance<T>,
        data: T,
        memory: MemoryBudget,
        max_table_elements: u64,
        linked: &Linked<T>,
        template: &Template,
    ) -> Store<T> {
        let inner = ManuallyDrop::new(pooled).store;
        // SAFETY: the spare was its only owner, and there was no data.
        let core = unsafe {
            (&raw mut (*inner.as_ptr()).data).write(ManuallyDrop::new(data));
            &mut (*inner.as_ptr()).core
        };
        core.memory = memory;
        core.max_table_elements = max_table_elements;
        core.take();
        let instance = &mut core.instances[0];
        let copied = instantiate::fill(instance, &linked.module().inner, template);
        instantiate::charge(core, copied);
        Store { inner, _owns: std::marker::PhantomData }
    }
}

impl<T> StoreInner<T> {
    /// Makes a spare of a store whose data is gone, if it is one that others can take the place of; else drops it.
    ///
    /// # Safety
    /// The caller owns it, and its data has been dropped.
    pub(super) unsafe fn retire(this: NonNull<StoreInner<T>>) {
        let mut pooled = PooledInstance { store: this, is_new: false };
        // SAFETY: ours, and nothing runs.
        let inner = unsafe { &mut *this.as_ptr() };
        let Some(shard) = inner.shard.clone() else { return };
        let [instance] = &inner.core.instances[..] else { return };
        let Some(size) = instance.slots() else { return };
        inner.forget();
        if size >= LARGE {
            pooled.renew(Faults::until_now());
        }
        shard.put(pooled);
    }

    /// Forgets what is left of the last call and its limits, but for what the next call begins with writing.
    fn forget(&mut self) {
        let core = &mut self.core;
        core.runtime.reductions = 0;
        core.runtime.has_request = false;
        core.host_error = None;
        core.memory = MemoryBudget::new(0, None);
        core.is_own_stack_lent = false;
        if let Some(home) = &core.own_stack {
            home.trim();
        }
        self.reductions = 0;
        self.given_back = 0;
        self.results.clear();
        self.request = None;
        self.outer = Vec::new();
    }

    /// Drops a store whose data is gone.
    ///
    /// # Safety
    /// The caller owns it, its data has been dropped, and nobody uses it after this.
    unsafe fn free(this: NonNull<StoreInner<T>>) {
        // SAFETY: made by `settle`, and the caller's alone. The home goes last, it is what all the rest is in.
        unsafe {
            match (*this.as_ptr()).core.own_stack.take() {
                Some(home) => {
                    this.drop_in_place();
                    drop(home);
                }
                None => drop(Box::from_raw(this.as_ptr())),
            }
        }
    }
}

#[cfg(test)]
mod owners;
#[cfg(test)]
mod tests;
