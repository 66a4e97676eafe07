// The code that the first process of a reactor runs; see lunatic.h. It is not part of that file, because a compiler that sees main
// beside a declaration of __main_void does not make the one the other.

#include <stdlib.h>

int __main_void(void);

__attribute__((export_name("_start"))) void _start(void) {
    exit(__main_void());
}
