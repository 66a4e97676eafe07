//! Recycling of stores: a store that has ended becomes the next store of the same module.
//!
//! Most of the cost of creating and dropping a store is taking things from pools and giving them back: a
//! stack, a memory slot, the lists of both, and a dozen references whose counts all threads share. The next
//! store of the module takes the same things again. So a store that ends with a single instance, as it was
//! created, is not taken apart. Its data is dropped, and the rest waits as a [`PooledInstance`] in a free
//! list of the linked module. The next owner gives it new limits, writes the globals, and copies data that is
//! not part of an image.
//!
//! A pooled instance's memory is zeroed as it would be for the pool of memories, but in batches: just before
//! instances are needed, or when too many used ones have gathered. To know which pages to zero
//! (`perf/residency.rs`) takes a system call that costs up to a sixth of a short process's life. One call
//! answers for all instances that have ended before it.
//!
//! The free list of a module has several shards. A thread takes from its own shard, and a store returns to
//! the shard that it came from. So threads do not contend for a lock, nor for the reference count of a shard.
//! A pooled instance belongs to its shard and refers to it. This cycle is broken when the last handle of the
//! linked module closes the shards.

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

/// Shards of a free list: this number of threads do not contend.
const SHARDS: usize = 8;

/// Instances that are renewed at a time. All of them are used in turn, so a larger batch would not stay in
/// the nearest cache.
const BATCH: usize = 8;

/// The size of the slots, in bytes, from which an instance is renewed when its store ends, so that what it
/// has used does not stay resident.
const LARGE: usize = 2 << 20;

/// The steps in which the capacity of a shard grows and shrinks.
const STEP: usize = 32;

/// The pooled instances of a linked module. Dropping the list closes its shards.
pub(crate) struct FreeList<T>([Arc<Shard<T>>; SHARDS]);

/// The pooled instances of some of the threads. Aligned, so that shards share no cache lines.
#[repr(align(128))]
pub(super) struct Shard<T> {
    content: Mutex<Content<T>>,
    /// The capacity of the engine, from which the shard takes its own.
    engine: Arc<PoolCapacity>,
}

struct Content<T> {
    new: Vec<PooledInstance<T>>,
    /// Instances that are not renewed yet. There are fewer than two batches, because the memory that they
    /// used is still resident.
    used: Vec<PooledInstance<T>>,
    /// The number of instances that the shard may hold.
    capacity: usize,
    is_open: bool,
}

impl<T> FreeList<T> {
    /// A list of empty shards, which take their capacity from the engine's.
    pub(crate) fn new(engine: &Arc<PoolCapacity>) -> FreeList<T> {
        FreeList(std::array::from_fn(|_| {
            let content = Content { new: Vec::new(), used: Vec::new(), capacity: 0, is_open: true };
            Arc::new(Shard { content: Mutex::new(content), engine: engine.clone() })
        }))
    }

    /// The shard of the calling thread.
    fn of_this_thread(&self) -> &Arc<Shard<T>> {
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
            // The latest ones, which are most likely still in the cache.
            content.renew(first..);
        }
        let pooled = content.new.pop()?;
        // Return capacity that this shard is far from using to the other shards.
        if content.capacity - content.len() > 2 * STEP {
            content.capacity -= STEP;
            self.engine.give_back(STEP);
        }
        Some(pooled)
    }

    /// Adds an instance, or drops it if the engine has no capacity left.
    fn put(&self, pooled: PooledInstance<T>) {
        let mut content = self.lock();
        // Capacity is taken in steps, so that shards seldom touch the counter that they share.
        if content.len() == content.capacity && content.is_open && self.engine.take(STEP) {
            content.capacity += STEP;
        }
        if content.len() < content.capacity {
            content.put(pooled);
            return;
        }
        // Dropping an instance takes locks of the pools, so it is done without this one.
        drop(content);
        drop(pooled);
    }

    /// Drops all instances. The shard takes no further ones.
    fn close(&self) {
        let mut content = self.lock();
        content.is_open = false;
        self.engine.give_back(std::mem::take(&mut content.capacity));
        // Taken out under the lock and dropped without it, as above.
        let (new, used) = (std::mem::take(&mut content.new), std::mem::take(&mut content.used));
        drop(content);
        drop((new, used));
    }

    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        self.content.lock().expect("nothing panics while the lock is held")
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
            // Renew the oldest: the latest may be needed next, and are still in the cache.
            self.renew(..BATCH);
        }
    }

    /// Renews some of the used instances.
    fn renew(&mut self, which: impl RangeBounds<usize>) {
        let faults = Faults::until_now();
        let renewed = self.used.drain(which).map(|mut pooled| {
            pooled.renew(faults);
            pooled
        });
        self.new.extend(renewed);
    }
}

/// A store without data, in which nothing runs. A renewed one is as it was when its instance was created,
/// except for what [`Store::renewed`] sets.
pub(super) struct PooledInstance<T> {
    store: NonNull<StoreInner<T>>,
    is_new: bool,
}

// SAFETY: a pooled instance has no `T`: its data was dropped, and `forget` has cleared the outer calls, the
// request and the results. Where `retire` drops an instance before `forget`, it does so on the thread that
// owned the store. What remains is memory that belongs to no thread and that only this value refers to: the
// stack, the instance with its memories and tables, and counted references whose types are Send
// (`assert_parts_are_send`).
unsafe impl<T> Send for PooledInstance<T> {}

/// Fails to compile if a part of a pooled instance is tied to a thread. Not among the parts are the raw pointers of the
/// instance, its memories and its tables, which lead to memory that the pooled instance owns.
#[expect(dead_code, reason = "it is only compiled")]
fn assert_parts_are_send<T>() {
    fn is_send<P: Send>() {}
    is_send::<crate::runtime::engine::Engine>();
    is_send::<Arc<super::Hosts<T>>>();
    is_send::<Option<super::Request<T>>>();
    is_send::<Option<crate::runtime::error::HostError>>();
    is_send::<Option<Arc<crate::runtime::vm::stack::StackPool>>>();
    is_send::<Option<crate::runtime::vm::stack::PooledStack>>();
    is_send::<Vec<crate::environ::value::Value>>();
    is_send::<Vec<crate::environ::value::RawValue>>();
    is_send::<MemoryBudget>();
    is_send::<Arc<crate::runtime::loaded_module::LoadedModule>>();
}

impl<T> Drop for PooledInstance<T> {
    fn drop(&mut self) {
        // SAFETY: the pooled instance is the only owner of its store, which has no data.
        unsafe { StoreInner::free(self.store) };
    }
}

impl<T> PooledInstance<T> {
    fn renew(&mut self, faults: Faults) {
        // SAFETY: the pooled instance is the only owner of its store, and nothing runs.
        let core = unsafe { &mut (*self.store.as_ptr()).core };
        core.instances[0].renew(faults);
        self.is_new = true;
    }
}

impl<T: Send + 'static> Store<T> {
    /// Creates a store with an instance of the module: the same as [`Store::new`] and [`Store::instantiate`],
    /// but cheaper when stores of one module follow each other. If the instance cannot be created, the store
    /// is empty.
    ///
    /// The memory, the stack and other parts may have belonged to an earlier store. Neither the guest nor the
    /// embedder can tell: everything that they could observe of the earlier store is gone.
    pub fn with_instance(
        linked: &Linked<T>,
        data: T,
        limits: StoreLimits,
    ) -> (Store<T>, Result<Instance, InstantiateError>) {
        let engine = &linked.module().inner.engine;
        if !engine.is_default_stack(limits.stack_size) {
            return Store::with_other_stacks(linked, data, limits);
        }
        let shard = linked.inner.free_list.of_this_thread();
        if let Ok(template) = &*linked.inner.template
            && let Some(pooled) = shard.take()
        {
            let mut memory = MemoryBudget::new(limits.max_memory, limits.total.clone());
            let fits = template.table_entries <= limits.max_table_elements
                && memory.charge(template.memory_bytes).is_ok();
            if fits {
                let store = Store::renewed(pooled, data, memory, limits.max_table_elements, linked, template);
                return (store, Ok(Instance(0)));
            }
            // The limits are too small for what the module begins with: keep the instance for another store, and let the ordinary path report the error.
            shard.put(pooled);
        }
        let mut store = Store::new(engine, data, limits);
        let instance = store.instantiate(linked);
        if instance.is_ok() {
            // Only a store that began with this one instance may be recycled.
            store.inner_mut().shard = Some(shard.clone());
        }
        (store, instance)
    }

    /// [`Store::with_instance`] for a stack size that pooled instances do not have. A function of its own, so
    /// that the common path does not move the data once more.
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

    /// Completes a pooled instance: data, limits that already count what the instance begins with, and the
    /// module's initial values.
    fn renewed(
        pooled: PooledInstance<T>,
        data: T,
        memory: MemoryBudget,
        max_table_elements: u64,
        linked: &Linked<T>,
        template: &Template,
    ) -> Store<T> {
        let inner = ManuallyDrop::new(pooled).store;
        // SAFETY: the pooled instance was the only owner of its store, which had no data.
        let core = unsafe {
            (&raw mut (*inner.as_ptr()).data).write(ManuallyDrop::new(data));
            &mut (*inner.as_ptr()).core
        };
        core.memory = memory;
        core.max_table_elements = max_table_elements;
        // Before anything is written to the memory: this thread's page faults are watched from now on.
        core.take();
        let instance = &mut core.instances[0];
        let copied = instantiate::fill(instance, &linked.module().inner, template);
        instantiate::charge(core, copied);
        Store { inner, _owns: std::marker::PhantomData }
    }
}

impl<T> StoreInner<T> {
    /// Adds a store to the free list if another store can take its place; drops it otherwise.
    ///
    /// # Safety
    /// The caller owns the store, and its data has been dropped.
    pub(super) unsafe fn retire(this: NonNull<StoreInner<T>>) {
        let mut pooled = PooledInstance { store: this, is_new: false };
        // SAFETY: the caller owns the store, and nothing runs.
        let inner = unsafe { &mut *this.as_ptr() };
        // Each early return drops `pooled`, and with it the store.
        let Some(shard) = inner.shard.clone() else { return };
        let [instance] = &inner.core.instances[..] else { return };
        let Some(size) = instance.slots() else { return };
        // Before the instance becomes visible to other threads.
        inner.forget();
        if size >= LARGE {
            pooled.renew(Faults::until_now());
        }
        shard.put(pooled);
    }

    /// Clears the limits and the state of the last call, except for what the next call writes first.
    fn forget(&mut self) {
        let core = &mut self.core;
        core.runtime.reductions = 0;
        core.runtime.has_request = false;
        core.host_error = None;
        core.memory = MemoryBudget::new(0, None);
        core.is_own_stack_lent = false;
        if let Some(stack) = &core.own_stack {
            stack.trim();
        }
        self.reductions = 0;
        self.given_back = 0;
        self.results.clear();
        self.request = None;
        self.outer = Vec::new();
    }

    /// Drops a store whose data has been dropped.
    ///
    /// # Safety
    /// The caller owns the store, its data has been dropped, and the store is not used afterwards.
    unsafe fn free(this: NonNull<StoreInner<T>>) {
        // SAFETY: the store was created by `settle` and belongs to the caller. A store that lies in its own
        // stack is dropped before that stack.
        unsafe {
            match (*this.as_ptr()).core.own_stack.take() {
                Some(stack) => {
                    this.drop_in_place();
                    drop(stack);
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
