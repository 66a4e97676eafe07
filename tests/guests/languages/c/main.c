// Uses the C library's interface to the system: arguments, environment, input, files, time, randomness, and numbers as text.
// Prints the results, to be compared with those of the same program built natively.
//
// Usage: PROGRAM DIRECTORY [WORD…]; the directory exists and is empty. The exit status is 7.

#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void given(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        printf("argument %d: [%s]\n", i, argv[i]);
    const char *names[] = {"GREETING", "EMPTY", "ABSENT"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        printf("%s: %s\n", names[i], value ? value : "(not set)");
    }
}

static void input(void) {
    char line[256];
    int lines = 0;
    while (fgets(line, sizeof line, stdin)) {
        size_t length = strcspn(line, "\n");
        printf("line %d: %.*s (%zu)\n", ++lines, (int)length, line, length);
    }
    printf("%d lines, %s\n", lines, feof(stdin) ? "to the end" : "not to the end");
}

static void fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path) {
    char *names[64];
    int count = 0;
    DIR *directory = opendir(path);
    if (!directory)
        fail("opendir");
    struct dirent *entry;
    while ((entry = readdir(directory)) && count < 64)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[count++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, count, sizeof names[0], by_name);
    printf("%d entries:", count);
    for (int i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
}

static void files(const char *directory) {
    char path[4096], other[4096], sub[4096];
    snprintf(path, sizeof path, "%s/a.txt", directory);
    snprintf(other, sizeof other, "%s/b.txt", directory);
    snprintf(sub, sizeof sub, "%s/sub", directory);

    FILE *file = fopen(path, "w");
    if (!file)
        fail("fopen");
    for (int i = 0; i < 3000; i++)
        fprintf(file, "row %d\n", i);
    fclose(file);
    if (!(file = fopen(path, "a+")))
        fail("fopen a+");
    fputs("the end\n", file);
    printf("%ld bytes\n", ftell(file));
    fseek(file, -8, SEEK_END);
    char line[64];
    printf("last: %s", fgets(line, sizeof line, file));
    rewind(file);
    int rows = 0;
    while (fgets(line, sizeof line, file))
        rows++;
    printf("%d rows\n", rows);
    fclose(file);

    if (truncate(path, 6))
        fail("truncate");
    struct stat status;
    if (stat(path, &status))
        fail("stat");
    printf("%lld bytes, %s\n", (long long)status.st_size, S_ISREG(status.st_mode) ? "a file" : "no file");

    if (mkdir(sub, 0777) || rename(path, other))
        fail("mkdir, rename");
    list(directory);
    if (stat(sub, &status))
        fail("stat");
    printf("sub is %s\n", S_ISDIR(status.st_mode) ? "a directory" : "no directory");
    printf("a.txt: %s\n", fopen(path, "r") || errno != ENOENT ? "still there" : "not there");
    printf("mkdir again: %s\n", mkdir(sub, 0777) && errno == EEXIST ? "exists" : "?");
    printf("unlink of a directory: %s\n", unlink(sub) ? "refused" : "done");
    if (rmdir(sub) || unlink(other))
        fail("rmdir, unlink");
    list(directory);
}

static void moments(void) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    struct timespec pause = {0, 20 * 1000 * 1000};
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double slept = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("slept: %s\n", slept >= 0.02 && slept < 20 ? "about as long" : "otherwise");
    printf("now: %s\n", time(NULL) > 1577836800 ? "after 2020" : "before 2020");
    time_t then = 951782400;
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M", gmtime(&then));
    printf("then: %s\n", text);
}

static void chance(void) {
    unsigned char one[16] = {0}, two[16] = {0};
    if (getentropy(one, sizeof one) || getentropy(two, sizeof two))
        fail("getentropy");
    printf("random: %s\n", memcmp(one, two, sizeof one) ? "differs" : "is the same");
}

static void numbers(void) {
    double values[] = {0.1, 1.0 / 3.0, 1e100, -2.5e-310, DBL_MAX, 0.0, -0.0, 1e300 * 1e300};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        printf("%g %.17g %.3f %e\n", values[i], values[i], values[i], values[i]);
    printf("%.17g %d\n", strtod("123456789.123456789", NULL), (int)strtol("-0x7f", NULL, 16));
}

int main(int argc, char **argv) {
    given(argc, argv);
    input();
    files(argv[1]);
    moments();
    chance();
    numbers();
    return 7;
}
