/* Processes and messages for C and C++: what a program needs of the functions that executor/ABI.md lists.
 *
 * A process is an instance of the whole program, with a memory of its own: it shares no variable with any other, and
 * begins with all of them as they were compiled. It runs one function, which LUNATIC_ENTRY exports under its name, and ends
 * when that returns.
 *
 * Build with a compiler that knows WASI, such as Zig's:
 *
 *     zig cc --target=wasm32-wasi -mexec-model=reactor -O2 main.c lunatic.c -o main.wasm
 *
 * A reactor has the export _initialize, which every process begins with: it runs the constructors (what C++ does for global
 * variables, what C marks so). As a command, which is built without that option, only the first process would run them.
 * A reactor has no _start, with which the first process calls main; lunatic.c has it.
 *
 * A process that returns from its entry does not flush what stdio holds. The first one does, as any program.
 */

#ifndef LUNATIC_H
#define LUNATIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LUNATIC_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

/* Makes a function an entry, which processes can be spawned with: its parameters are int32_t and int64_t, and it returns
 * nothing. */
#ifdef __cplusplus
#define LUNATIC_ENTRY(name) extern "C" __attribute__((export_name(#name))) void name
#else
#define LUNATIC_ENTRY(name) __attribute__((export_name(#name))) void name
#endif

/* A process, by a number that no other one ever has. */
typedef int64_t lunatic_process;

/* A module that a program has compiled. */
typedef int64_t lunatic_module;

#define LUNATIC_OWN_MODULE (-1)
#define LUNATIC_FOREVER (-1)
#define LUNATIC_NO_TAG 0

/* What lunatic_receive returns. */
enum { LUNATIC_DATA = 0, LUNATIC_LINK_DIED = 1, LUNATIC_MONITORED_DIED = 2, LUNATIC_TIMED_OUT = 9027 };

/* The functions themselves. Those that return int32_t say 0 when they have done it. */

LUNATIC_IMPORT("lunatic::process", "process_id") lunatic_process lunatic_self(void);
LUNATIC_IMPORT("lunatic::process", "sleep_ms") void lunatic_sleep_ms(int64_t);
LUNATIC_IMPORT("lunatic::process", "link") void lunatic_link(int64_t tag, lunatic_process);
LUNATIC_IMPORT("lunatic::process", "die_when_link_dies") void lunatic_die_when_link_dies(int32_t);
LUNATIC_IMPORT("lunatic::process", "kill") void lunatic_kill(lunatic_process);
LUNATIC_IMPORT("lunatic::process", "compile_module")
int32_t lunatic_compile_module(const void *bytes, size_t length, lunatic_module *module_or_error);
LUNATIC_IMPORT("lunatic::process", "spawn")
int32_t lunatic_spawn_raw(int64_t link, int64_t config, lunatic_module, const char *entry, size_t entry_length,
                          const void *parameters, size_t length, lunatic_process *process_or_error);

LUNATIC_IMPORT("lunatic::message", "create_data") void lunatic_create(int64_t tag, int64_t capacity);
LUNATIC_IMPORT("lunatic::message", "write_data") int32_t lunatic_write(const void *bytes, size_t length);
LUNATIC_IMPORT("lunatic::message", "send") int32_t lunatic_send(lunatic_process);
LUNATIC_IMPORT("lunatic::message", "receive")
int32_t lunatic_receive(const int64_t *tags, size_t count, int64_t timeout_ms);
LUNATIC_IMPORT("lunatic::message", "data_size") int64_t lunatic_size(void);
LUNATIC_IMPORT("lunatic::message", "read_data") int32_t lunatic_read(void *buffer, size_t length);
LUNATIC_IMPORT("lunatic::message", "get_tag") int64_t lunatic_tag(void);

LUNATIC_IMPORT("lunatic::error", "string_size") int32_t lunatic_error_length(int64_t error);
LUNATIC_IMPORT("lunatic::error", "to_string") void lunatic_error_text(int64_t error, char *text);
LUNATIC_IMPORT("lunatic::error", "drop") void lunatic_error_drop(int64_t error);

/* A parameter of an entry. */
typedef struct {
    unsigned char type; /* as WebAssembly encodes it */
    unsigned char value[16];
} lunatic_parameter;

static inline lunatic_parameter lunatic_parameter_of(unsigned char type, uint64_t value) {
    lunatic_parameter parameter = {type, {0}};
    for (int i = 0; i < 8; i++)
        parameter.value[i] = (unsigned char)(value >> 8 * i);
    return parameter;
}

static inline lunatic_parameter lunatic_i32(int32_t value) {
    return lunatic_parameter_of(0x7f, (uint32_t)value);
}

static inline lunatic_parameter lunatic_i64(int64_t value) {
    return lunatic_parameter_of(0x7e, (uint64_t)value);
}

/* Spawns a process that runs an entry of a module. Returns 0 and its identifier, or 1 and an error's. */
static inline int32_t lunatic_spawn(lunatic_module module, const char *entry, const lunatic_parameter *parameters,
                                    size_t count, lunatic_process *process_or_error) {
    const int64_t not_linked = 0, own_configuration = -1;
    return lunatic_spawn_raw(not_linked, own_configuration, module, entry, __builtin_strlen(entry), parameters,
                             count * sizeof(lunatic_parameter), process_or_error);
}

#ifdef __cplusplus
}
#endif

#endif
