//! The reserved import: finds it, checks it, and makes sure that nothing but code names it.
//!
//! A module could pass the charge function on, or reach it, through an export, an element segment (and with
//! that a table), a constant expression or the start function. Each of these is checked here.
//! [`super::function`] checks code.

use wasmparser::{
    CompositeInnerType, ConstExpr, ElementItems, ElementSectionReader, ExportSectionReader, ExternalKind,
    GlobalSectionReader, Import, ImportSectionReader, Operator, TableInit, TableSectionReader, TypeRef,
    TypeSectionReader, ValType,
};

use crate::abi::{CHARGE_FUNCTION, METERING_MODULE};
use crate::error::{VerifyError, VerifyErrorKind};

/// The index of the import.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    pub(super) charge_function: u32,
    /// The number of imported functions, including this one.
    pub(super) imported_functions: u32,
}

/// The reserved imports found so far.
#[derive(Debug, Default)]
pub(super) struct ReservedImports {
    /// For each type of the module, whether it is `(i32) -> ()`.
    is_charge: Vec<bool>,
    functions: u32,
    charge_function: Option<u32>,
}

impl ReservedImports {
    pub(super) fn types(&mut self, types: TypeSectionReader<'_>) -> Result<(), VerifyError> {
        for group in types {
            for ty in group?.types() {
                self.is_charge.push(match &ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => ty.params() == [ValType::I32] && ty.results().is_empty(),
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
                TypeRef::Global(_) | TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Tag(_) => {}
            }
        }
        Ok(())
    }

    fn reserved(&mut self, import: &Import<'_>) -> Result<(), VerifyErrorKind> {
        if import.name != CHARGE_FUNCTION {
            return Err(VerifyErrorKind::UnknownImport(import.name.to_owned()));
        }
        let is_right =
            matches!(import.ty, TypeRef::Func(ty) if self.is_charge.get(ty as usize) == Some(&true));
        if !is_right {
            return Err(VerifyErrorKind::ImportType);
        }
        if self.charge_function.replace(self.functions).is_some() {
            return Err(VerifyErrorKind::SecondImport);
        }
        Ok(())
    }

    /// Returns the import, once no more can follow.
    pub(super) fn complete(&self, offset: u64) -> Result<Reserved, VerifyError> {
        match self.charge_function {
            Some(charge_function) => Ok(Reserved { charge_function, imported_functions: self.functions }),
            None => Err(VerifyError::at(offset, VerifyErrorKind::MissingImport)),
        }
    }
}

impl Reserved {
    pub(super) fn check_exports(self, exports: ExportSectionReader<'_>) -> Result<(), VerifyError> {
        for export in exports.into_iter_with_offsets() {
            let (offset, export) = export?;
            match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => self.function(export.index, offset)?,
                ExternalKind::Table | ExternalKind::Memory | ExternalKind::Global | ExternalKind::Tag => {}
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

    fn expression(self, expression: &ConstExpr<'_>) -> Result<(), VerifyError> {
        for operator in expression.get_operators_reader().into_iter_with_offsets() {
            let (operator, offset) = operator?;
            if self.is_named_by(&operator) {
                return Err(VerifyError::at(offset, VerifyErrorKind::Exposed));
            }
        }
        Ok(())
    }

    /// Whether an operator names the charge function.
    #[inline(always)]
    pub(super) fn is_named_by(self, operator: &Operator<'_>) -> bool {
        match *operator {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => function_index == self.charge_function,
            _ => false,
        }
    }

    fn function(self, index: u32, offset: u64) -> Result<(), VerifyError> {
        if index != self.charge_function {
            return Ok(());
        }
        Err(VerifyError::at(offset, VerifyErrorKind::Exposed))
    }
}
