//! The operand stack and the control stack of a function under translation.

use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};
use cranelift_frontend::FunctionBuilder;

use super::bounds::CheckedIndices;

/// The kind of a construct on the control stack.
#[derive(Debug)]
pub(crate) enum FrameKind {
    /// `block`, and the function body itself.
    Block,
    /// `loop`, with the block that a branch to it targets.
    Loop { header: Block },
    /// `if`, with the block of its `else` side and the parameters of that, until `else` takes them.
    If { otherwise: Option<(Block, Vec<Value>)> },
}

/// A construct whose `end` has not been read yet.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// The block after its `end`. The parameters of the block are the results of the construct.
    pub(crate) exit: Block,
    pub(crate) params: usize,
    pub(crate) results: usize,
    /// The height of the operand stack below its parameters.
    pub(crate) height: usize,
    /// Whether anything branches to `exit`.
    pub(crate) exit_used: bool,
    /// The checks at its beginning, which every path into and out of it has passed.
    pub(crate) known: CheckedIndices,
}

impl Frame {
    /// Returns the number of values that a branch to this frame carries.
    pub(crate) fn branch_arity(&self) -> usize {
        match self.kind {
            FrameKind::Loop { .. } => self.params,
            _ => self.results,
        }
    }

    /// Returns the target of a branch to this frame.
    pub(crate) fn branch_target(&mut self) -> Block {
        match self.kind {
            FrameKind::Loop { header } => header,
            _ => {
                self.exit_used = true;
                self.exit
            }
        }
    }
}

/// Both stacks, and whether the code being read is reachable.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    pub(crate) values: Vec<Value>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) unreachable: bool,
    /// The number of constructs that were opened in unreachable code.
    pub(crate) skipped: usize,
}

impl Stacks {
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.frames.clear();
        self.unreachable = false;
        self.skipped = 0;
    }

    pub(crate) fn push(&mut self, value: Value) {
        self.values.push(value);
    }

    pub(crate) fn pop(&mut self) -> Value {
        self.values.pop().expect("the code is validated")
    }

    pub(crate) fn pop2(&mut self) -> (Value, Value) {
        let right = self.pop();
        (self.pop(), right)
    }

    pub(crate) fn pop3(&mut self) -> (Value, Value, Value) {
        let third = self.pop();
        let (first, second) = self.pop2();
        (first, second, third)
    }

    /// Returns the topmost `count` values, lowest first.
    pub(crate) fn top(&self, count: usize) -> &[Value] {
        &self.values[self.values.len() - count..]
    }

    pub(crate) fn drop_top(&mut self, count: usize) {
        self.values.truncate(self.values.len() - count);
    }

    /// Returns the frame that a branch of this depth targets.
    pub(crate) fn frame(&mut self, depth: u32) -> &mut Frame {
        let index = self.frames.len() - 1 - depth as usize;
        &mut self.frames[index]
    }

    /// Returns the arguments of a jump that carries the topmost `count` values.
    pub(crate) fn branch_args(&self, count: usize) -> Vec<BlockArg> {
        self.top(count).iter().map(|&value| BlockArg::Value(value)).collect()
    }

    /// Jumps to a block with the topmost `count` values.
    pub(crate) fn jump(&self, builder: &mut FunctionBuilder<'_>, target: Block, count: usize) {
        builder.ins().jump(target, &self.branch_args(count));
    }
}
