//! The native code of a module, for processes with memories in the pool, in reservations of their own, or both.
//!
//! Pooled memories suit many processes. Reserved memories suit few and large ones: their accesses need no bounds
//! check, but there is address space for a few thousand only, and creating one takes tens of microseconds. The memory
//! limit of a process decides which of the two it gets.

use std::sync::{Arc, Weak};

use lunatic_jit::{
    FuncIndex, FuncType, Instance, InstantiateError, Linked, MemoryLayout, Module, Refusal, Store,
    StoreLimits, declared_imports,
};

use crate::process::ProcessData;
use lunatic_resources::Charge;

/// Where the memories of a program's processes lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memories {
    /// A program that cannot spawn gets a reservation. In a program that can, a process gets one if its configuration
    /// sets the memory limit to 256 MiB or more; all other memories are pooled.
    #[default]
    ByLimit,
    /// Every process gets a reservation as long as there are any.
    Reserved,
}

/// The host functions by which a module creates processes.
const SPAWNING: [(&str, &str); 3] =
    [("lunatic::process", "spawn"), ("lunatic::process", "get_or_spawn"), ("lunatic::distributed", "spawn")];

/// The host function by which a module sets the memory limit of its children.
const SIZING: (&str, &str) = ("lunatic::process", "config_set_max_memory");

/// Returns the layouts that a program is to be compiled for. `can_reserve` says whether there are reservations at
/// all.
pub fn layouts(wasm: &[u8], memories: Memories, can_reserve: bool) -> &'static [MemoryLayout] {
    use MemoryLayout::{Pooled, Reserved};
    let spawns = declared_imports(wasm).any(|import| SPAWNING.contains(&import));
    let sizes = memories == Memories::Reserved || declared_imports(wasm).any(|import| import == SIZING);
    match (can_reserve, spawns, sizes) {
        (false, ..) | (true, true, false) => &[Pooled],
        // It has one process, which gets a reservation.
        (true, false, _) => &[Reserved],
        (true, true, true) => &[Pooled, Reserved],
    }
}

/// The identity of a list of forbidden functions. Codes that were restricted by the same list are equal.
#[derive(Debug, Default)]
pub struct Restriction;

/// A linked module, compiled for one layout or both. Functions have the same numbers in both.
#[derive(Clone)]
pub struct Code(Arc<Versions>);

struct Versions {
    /// Always present for a module that several processes may run.
    pooled: Option<Linked<ProcessData>>,
    reserved: Option<Linked<ProcessData>>,
    memories: Memories,
    /// Functions that run before the entry of each process, in this order.
    before: Box<[FuncIndex]>,
    /// The list that this code was restricted by. The list owns the code, not the code the list.
    restriction: Weak<Restriction>,
    /// The charge to the process that had the module compiled, for as long as the code is used.
    kept: Option<Arc<Charge>>,
    /// The charge to the process that had the module linked again without some functions.
    _links: Option<Charge>,
}

/// The export by which a module without a main function initialises itself, as WASI defines it.
const INITIALIZE: &str = "_initialize";

impl Code {
    /// Creates the code from its versions, of which there is at least one.
    pub fn new(versions: Vec<Linked<ProcessData>>, memories: Memories) -> Code {
        let of = |layout| versions.iter().find(|linked| linked.module().options().memory == layout).cloned();
        let (pooled, reserved) = (of(MemoryLayout::Pooled), of(MemoryLayout::Reserved));
        let module = pooled.as_ref().or(reserved.as_ref()).expect("there is a version").module();
        let initialize = module.exported_function(INITIALIZE);
        let initialize =
            initialize.filter(|&function| *module.function_type(function) == FuncType::new([], []));
        let before = module.start_function().into_iter().chain(initialize).collect();
        Code(Arc::new(Versions {
            pooled,
            reserved,
            memories,
            before,
            restriction: Weak::new(),
            kept: None,
            _links: None,
        }))
    }

    /// Returns the bytes that the host keeps for the code.
    pub fn host_bytes(&self) -> u64 {
        let versions = [&self.0.pooled, &self.0.reserved];
        versions.into_iter().flatten().map(|linked| linked.host_bytes() as u64).sum()
    }

    /// Returns the bytes that linking the module again takes.
    pub fn bytes_of_links(&self) -> u64 {
        let versions = [&self.0.pooled, &self.0.reserved];
        versions.into_iter().flatten().map(|linked| linked.bytes_of_hosts() as u64).sum()
    }

    /// Returns the same code with a charge. To be called before the code is shared.
    pub fn charged(self, kept: Charge) -> Code {
        let Versions { pooled, reserved, memories, before, .. } = &*self.0;
        Code(Arc::new(Versions {
            pooled: pooled.clone(),
            reserved: reserved.clone(),
            memories: *memories,
            before: before.clone(),
            restriction: Weak::new(),
            kept: Some(Arc::new(kept)),
            _links: None,
        }))
    }

    /// Returns the same code, linked so that some functions raise an error.
    pub fn refusing(
        &self,
        restriction: &Arc<Restriction>,
        links: Option<Charge>,
        error: impl Fn(&str, &str) -> Option<Refusal>,
    ) -> Code {
        let Versions { pooled, reserved, memories, before, kept, .. } = &*self.0;
        let of = |linked: &Option<Linked<_>>| linked.as_ref().map(|linked| linked.refusing(&error));
        Code(Arc::new(Versions {
            pooled: of(pooled),
            reserved: of(reserved),
            memories: *memories,
            before: before.clone(),
            restriction: Arc::downgrade(restriction),
            kept: kept.clone(),
            _links: links,
        }))
    }

    /// Returns whether the code was restricted by this list.
    pub fn is_restricted_by(&self, restriction: &Arc<Restriction>) -> bool {
        std::ptr::eq(self.0.restriction.as_ptr(), Arc::as_ptr(restriction))
    }

    /// Returns whether both are the same module, loaded at the same time.
    pub fn is(&self, other: &Code) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the functions that a process calls before its entry. They have no parameters and no results.
    pub fn before(&self) -> &[FuncIndex] {
        &self.0.before
    }

    /// Returns the module of one version. Names, types and functions are the same in all versions.
    pub fn module(&self) -> &Module {
        self.0.pooled.as_ref().or(self.0.reserved.as_ref()).expect("there is a version").module()
    }

    /// Creates a store with an instance, whose memory is of the kind that the configuration asks for, or pooled if
    /// there is no reservation left. If there is no instance, the store only holds the data.
    pub fn instantiate(
        &self,
        data: ProcessData,
        limits: StoreLimits,
    ) -> (Store<ProcessData>, Result<Instance, InstantiateError>) {
        let Versions { pooled, reserved, memories, .. } = &*self.0;
        let is_large = data.process.config().is_large;
        let wanted = match (pooled, reserved) {
            (Some(_), Some(reserved)) if *memories == Memories::Reserved || is_large => reserved,
            (Some(pooled), _) => pooled,
            (None, reserved) => reserved.as_ref().expect("there is a version"),
        };
        let (mut store, mut instance) = Store::with_instance(wanted, data, limits);
        if let (Err(InstantiateError::Exhausted(_)), Some(pooled)) = (&instance, pooled) {
            instance = store.instantiate(pooled);
        }
        (store, instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_compiled_for_the_memories_of_its_processes() {
        use MemoryLayout::{Pooled, Reserved};
        let spawn = r#"(import "lunatic::process" "spawn" (func))"#;
        let size = r#"(import "lunatic::process" "config_set_max_memory" (func))"#;
        let cases: [(&str, &str, Memories, bool, &[MemoryLayout]); 7] = [
            ("", "", Memories::ByLimit, true, &[Reserved]),
            ("", size, Memories::ByLimit, true, &[Reserved]),
            (spawn, "", Memories::ByLimit, true, &[Pooled]),
            (spawn, size, Memories::ByLimit, true, &[Pooled, Reserved]),
            (spawn, "", Memories::Reserved, true, &[Pooled, Reserved]),
            (spawn, size, Memories::Reserved, false, &[Pooled]),
            ("", "", Memories::ByLimit, false, &[Pooled]),
        ];
        for (first, second, memories, can_reserve, expected) in cases {
            let wasm = wat::parse_str(format!("(module {first} {second})")).unwrap();
            assert_eq!(layouts(&wasm, memories, can_reserve), expected, "{first} {second} {memories:?}");
        }
    }
}
