// What the first process of a reactor runs; lunatic.h says more. It is no part of that because a compiler that sees main
// beside a declaration of __main_void does not make the one the other.

#include <stdlib.h>

int __main_void(void);

__attribute__((export_name("_start"))) void _start(void) {
    exit(__main_void());
}
