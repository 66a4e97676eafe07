;; Never ends.
(module (func (export "run") (result i32) (loop $more (br $more)) (unreachable)))
