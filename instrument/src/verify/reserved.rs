//! The two reserved imports: found, checked, and kept out of everything but code.
//!
//! A module could hand the counter or the yield function to others, or reach them itself, through an export, an
//! element segment (and with it a table), a constant expression or the start function. Each is looked at here;
//! code is [`super::function`]'s.

use wasmparser::{
    CompositeInnerType, ConstExpr, DataKind, DataSectionReader, ElementItems, ElementKind,
    ElementSectionReader, ExportSectionReader, ExternalKind, GlobalSectionReader, Import,
    ImportSectionReader, Operator, TableInit, TableSectionReader, TypeRef, TypeSectionReader, ValType,
};

use crate::abi::{METERING_MODULE, REDUCTIONS_GLOBAL, YIELD_FUNCTION};
use crate::error::{self, VerifyError, VerifyErrorKind};

/// The indices of the two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    pub(super) reductions: u32,
    pub(super) yield_function: u32,
    /// How many functions are imported, this one with them.
    pub(super) imported_functions: u32,
}

/// The reserved imports met so far.
#[derive(Debug, Default)]
pub(super) struct ReservedImports {
    /// For each type of the module, whether it is `() -> ()`.
    is_unit_function: Vec<bool>,
    functions: u32,
    globals: u32,
    reductions: Option<u32>,
    yield_function: Option<u32>,
}

impl ReservedImports {
    pub(super) fn types(&mut self, types: TypeSectionReader<'_>) -> Result<(), VerifyError> {
        for group in types {
            for ty in group?.types() {
                self.is_unit_function.push(match &ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => ty.params().is_empty() && ty.results().is_empty(),
                    _ => false,
                });
            }
        }
        Ok(())
    }

    pub(super) fn imports(&mut self, imports: ImportSectionReader<'_>) -> Result<(), VerifyError> {
        for import in imports.into_imports_with_offsets() {
            let (offset, import) = import?;
            if import.module == METERING_MODULE {
                self.reserved(&import).map_err(|kind| VerifyError::at(offset, kind))?;
            }
            match import.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => self.functions += 1,
                TypeRef::Global(_) => self.globals += 1,
                TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Tag(_) => {}
            }
        }
        Ok(())
    }

    fn reserved(&mut self, import: &Import<'_>) -> Result<(), VerifyErrorKind> {
        let (name, slot, index, is_right) = match import.name {
            REDUCTIONS_GLOBAL => {
                (REDUCTIONS_GLOBAL, &mut self.reductions, self.globals, is_counter(import.ty))
            }
            YIELD_FUNCTION => {
                let is_right = matches!(import.ty, TypeRef::Func(ty) if self.is_unit_function.get(ty as usize) == Some(&true));
                (YIELD_FUNCTION, &mut self.yield_function, self.functions, is_right)
            }
            other => return Err(VerifyErrorKind::UnknownImport(other.to_owned())),
        };
        if !is_right {
            return Err(VerifyErrorKind::ImportType(name));
        }
        if slot.replace(index).is_some() {
            return Err(VerifyErrorKind::SecondImport(name));
        }
        Ok(())
    }

    /// The two, once no more imports can follow.
    pub(super) fn complete(&self, offset: u64) -> Result<Reserved, VerifyError> {
        let found = |index: Option<u32>, name| {
            index.ok_or_else(|| VerifyError::at(offset, VerifyErrorKind::MissingImport(name)))
        };
        Ok(Reserved {
            reductions: found(self.reductions, REDUCTIONS_GLOBAL)?,
            yield_function: found(self.yield_function, YIELD_FUNCTION)?,
            imported_functions: self.functions,
        })
    }
}

fn is_counter(ty: TypeRef) -> bool {
    matches!(ty, TypeRef::Global(ty) if ty.content_type == ValType::I64 && ty.mutable && !ty.shared)
}

impl Reserved {
    pub(super) fn check_exports(self, exports: ExportSectionReader<'_>) -> Result<(), VerifyError> {
        for export in exports.into_iter_with_offsets() {
            let (offset, export) = export?;
            match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => self.function(export.index, offset)?,
                ExternalKind::Global => self.global(export.index, offset)?,
                ExternalKind::Table | ExternalKind::Memory | ExternalKind::Tag => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_start(self, function: u32, offset: u64) -> Result<(), VerifyError> {
        self.function(function, offset)
    }

    pub(super) fn check_elements(self, elements: ElementSectionReader<'_>) -> Result<(), VerifyError> {
        for element in elements {
            let element = element?;
            if let ElementKind::Active { offset_expr, .. } = &element.kind {
                self.expression(offset_expr)?;
            }
            match element.items {
                ElementItems::Functions(functions) => {
                    for function in functions.into_iter_with_offsets() {
                        let (offset, function) = function?;
                        self.function(function, offset)?;
                    }
                }
                ElementItems::Expressions(_, expressions) => {
                    for expression in expressions {
                        self.expression(&expression?)?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_tables(self, tables: TableSectionReader<'_>) -> Result<(), VerifyError> {
        for table in tables {
            if let TableInit::Expr(expression) = table?.init {
                self.expression(&expression)?;
            }
        }
        Ok(())
    }

    pub(super) fn check_globals(self, globals: GlobalSectionReader<'_>) -> Result<(), VerifyError> {
        for global in globals {
            self.expression(&global?.init_expr)?;
        }
        Ok(())
    }

    pub(super) fn check_data(self, data: DataSectionReader<'_>) -> Result<(), VerifyError> {
        for segment in data {
            if let DataKind::Active { offset_expr, .. } = segment?.kind {
                self.expression(&offset_expr)?;
            }
        }
        Ok(())
    }

    fn expression(self, expression: &ConstExpr<'_>) -> Result<(), VerifyError> {
        for operator in expression.get_operators_reader().into_iter_with_offsets() {
            let (operator, offset) = operator?;
            if let Some(exposed) = self.named_by(&operator) {
                return Err(VerifyError::at(offset, VerifyErrorKind::Exposed(exposed)));
            }
        }
        Ok(())
    }

    /// Which of the two an operator names, if any.
    pub(super) fn named_by(self, operator: &Operator<'_>) -> Option<error::Reserved> {
        match *operator {
            Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => {
                (global_index == self.reductions).then_some(error::Reserved::Counter)
            }
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => {
                (function_index == self.yield_function).then_some(error::Reserved::Yield)
            }
            _ => None,
        }
    }

    fn function(self, index: u32, offset: u64) -> Result<(), VerifyError> {
        if index != self.yield_function {
            return Ok(());
        }
        Err(VerifyError::at(offset, VerifyErrorKind::Exposed(error::Reserved::Yield)))
    }

    fn global(self, index: u32, offset: u64) -> Result<(), VerifyError> {
        if index != self.reductions {
            return Ok(());
        }
        Err(VerifyError::at(offset, VerifyErrorKind::Exposed(error::Reserved::Counter)))
    }
}
