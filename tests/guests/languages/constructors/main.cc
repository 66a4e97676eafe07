// The global variables of a C++ program are constructed once in each process, before its entry.

#include "lunatic.h"

#include <cstdio>
#include <string>
#include <vector>

static int constructed = 0;

struct Counted {
    std::vector<std::string> words = {"made", "before"};
    Counted() { constructed++; }
};

static Counted counted;

static void answer(lunatic_process to) {
    std::string text = counted.words[0] + " " + counted.words[1] + " " + std::to_string(constructed);
    lunatic_create(LUNATIC_NO_TAG, 0);
    lunatic_write(text.data(), text.size());
    lunatic_send(to);
}

static void show(const char *whose) {
    lunatic_receive(nullptr, 0, LUNATIC_FOREVER);
    std::string text(lunatic_size(), ' ');
    lunatic_read(text.data(), text.size());
    std::printf("%s: %s\n", whose, text.c_str());
}

LUNATIC_ENTRY(child)(lunatic_process parent, int32_t number) {
    if (number == 42)
        answer(parent);
}

int main() {
    answer(lunatic_self());
    show("the first");
    lunatic_parameter parameters[] = {lunatic_i64(lunatic_self()), lunatic_i32(42)};
    lunatic_process process;
    if (lunatic_spawn(LUNATIC_OWN_MODULE, "child", parameters, 2, &process))
        return 1;
    show("a child");
    int64_t error;
    if (lunatic_spawn(LUNATIC_OWN_MODULE, "nobody", parameters, 2, &error)) {
        std::string text(lunatic_error_length(error), ' ');
        lunatic_error_text(error, text.data());
        lunatic_error_drop(error);
        std::printf("no child: %s\n", text.c_str());
    }
}
