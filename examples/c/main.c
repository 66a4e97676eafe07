// A hundred processes, each of which adds up a part of a vector: examples/sums in C.
//
// Every child is sent its index and a copy of the vector, sums the numbers up to the index, and sends the result back to the
// parent, which prints them in order.

#include "lunatic.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHILDREN = 100 };

// The message of a child.
typedef struct {
    int64_t index;
    int64_t sum;
} Answer;

static lunatic_process spawn_child(void) {
    lunatic_parameter parent = lunatic_i64(lunatic_self());
    lunatic_process child;
    if (lunatic_spawn(LUNATIC_OWN_MODULE, "sum_until", &parent, 1, &child)) {
        fprintf(stderr, "a child cannot be spawned\n");
        exit(1);
    }
    return child;
}

int main(void) {
    int64_t numbers[CHILDREN];
    for (int64_t i = 0; i < CHILDREN; i++)
        numbers[i] = i;
    for (int64_t index = 0; index < CHILDREN; index++) {
        lunatic_process child = spawn_child();
        lunatic_create(LUNATIC_NO_TAG, sizeof index + sizeof numbers);
        lunatic_write(&index, sizeof index);
        lunatic_write(numbers, sizeof numbers);
        lunatic_send(child);
    }

    int64_t sums[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        Answer answer;
        lunatic_receive(NULL, 0, LUNATIC_FOREVER);
        lunatic_read(&answer, sizeof answer);
        sums[answer.index] = answer.sum;
    }
    for (int i = 0; i < CHILDREN; i++)
        printf("Sum until %d: %lld\n", i, (long long)sums[i]);
}

LUNATIC_ENTRY(sum_until)(lunatic_process parent) {
    lunatic_receive(NULL, 0, LUNATIC_FOREVER);
    Answer answer;
    lunatic_read(&answer.index, sizeof answer.index);
    size_t rest = (size_t)lunatic_size() - sizeof answer.index;
    int64_t *numbers = malloc(rest);
    lunatic_read(numbers, rest);
    answer.sum = 0;
    for (int64_t i = 0; i <= answer.index; i++)
        answer.sum += numbers[i];
    free(numbers);
    lunatic_create(LUNATIC_NO_TAG, sizeof answer);
    lunatic_write(&answer, sizeof answer);
    lunatic_send(parent);
}
