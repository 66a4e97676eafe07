// One program, processes from several languages: a parent in C compiles the modules that it finds in the directory "modules"
// and spawns processes of each, which sum what they are sent.
//
// The modules are those of the other examples. They have in common the name of an entry, its parameter, and what messages
// look like: numbers of 8 bytes. An index and a vector go there, the index and a sum come back.

#include "lunatic.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHILDREN = 10, MODULES = 16 };

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void fail_by(const char *what, int64_t error) {
    char text[1024] = {0};
    if (lunatic_error_length(error) < (int32_t)sizeof text)
        lunatic_error_text(error, text);
    fprintf(stderr, "%s: %s\n", what, text);
    exit(1);
}

static lunatic_module compile(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "modules/%s", name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        fail("a module cannot be opened");
    size_t length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(length);
    if (!bytes || fread(bytes, 1, length, file) != length)
        fail("a module cannot be read");
    fclose(file);
    lunatic_module module;
    if (lunatic_compile_module(bytes, length, &module))
        fail_by(name, module);
    free(bytes);
    return module;
}

// Spawns processes of a module that sum up square numbers: the first process sums one, the next two, up to ten.
static void sums_of(const char *name) {
    lunatic_module module = compile(name);
    int64_t task[1 + CHILDREN], sums[CHILDREN];
    for (int64_t i = 0; i < CHILDREN; i++)
        task[1 + i] = i * i;
    for (int64_t index = 0; index < CHILDREN; index++) {
        lunatic_parameter parent = lunatic_i64(lunatic_self());
        lunatic_process child;
        if (lunatic_spawn(module, "sum_until", &parent, 1, &child))
            fail_by(name, child);
        task[0] = index;
        lunatic_create(LUNATIC_NO_TAG, sizeof task);
        lunatic_write(task, sizeof task);
        lunatic_send(child);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int64_t answer[2];
        lunatic_receive(NULL, 0, LUNATIC_FOREVER);
        lunatic_read(answer, sizeof answer);
        sums[answer[0]] = answer[1];
    }
    printf("%s:", name);
    for (int i = 0; i < CHILDREN; i++)
        printf(" %lld", (long long)sums[i]);
    printf("\n");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(void) {
    DIR *directory = opendir("modules");
    if (!directory)
        fail("there is no directory with modules");
    char *names[MODULES];
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) && count < MODULES;)
        if (entry->d_name[0] != '.')
            names[count++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, count, sizeof names[0], by_name);
    for (size_t i = 0; i < count; i++)
        sums_of(names[i]);
}
