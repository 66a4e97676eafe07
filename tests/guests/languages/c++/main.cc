// Uses the C++ library: constructors before main and destructors after it, streams, containers, time, randomness, and numbers as
// text. Prints the results, to be compared with those of the same program built natively.
//
// Usage: PROGRAM DIRECTORY [WORD…]; the directory exists and is empty. The exit status is 7.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

// Prints when it is constructed and destroyed.
struct Witness {
    const char *name;
    explicit Witness(const char *name) : name(name) { std::cout << "begins: " << name << std::endl; }
    ~Witness() { std::cout << "ends: " << name << std::endl; }
};

static Witness global("global");
static const std::map<std::string, int> made_before_main = {{"one", 1}, {"two", 2}, {"three", 3}};

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};

struct Circle : Shape {
    double radius;
    explicit Circle(double radius) : radius(radius) {}
    double area() const override { return M_PI * radius * radius; }
};

struct Square : Shape {
    double side;
    explicit Square(double side) : side(side) {}
    double area() const override { return side * side; }
};

static void given(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        std::cout << "argument " << i << ": " << std::quoted(argv[i]) << "\n";
    for (const char *name : {"GREETING", "EMPTY", "ABSENT"}) {
        const char *value = std::getenv(name);
        std::cout << name << ": " << (value ? value : "(not set)") << "\n";
    }
}

static void input() {
    int count = 0;
    for (std::string line; std::getline(std::cin, line);)
        std::cout << "line " << ++count << ": " << line << " (" << line.size() << ")\n";
    std::cout << count << " lines\n";
}

struct Close {
    void operator()(FILE *file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, Close>;

// Without streams and std::filesystem, which the library that comes with Zig does not have for WASI.
static void files(const std::string &directory) {
    const std::string path = directory + "/a.txt", other = directory + "/b.txt", sub = directory + "/sub";
    {
        File file(std::fopen(path.c_str(), "w"));
        for (int i = 0; i < 3000; i++)
            std::fprintf(file.get(), "row %d\n", i);
    }
    std::vector<std::string> rows;
    {
        File file(std::fopen(path.c_str(), "r"));
        for (char line[64]; std::fgets(line, sizeof line, file.get());)
            rows.emplace_back(line, std::find(line, line + sizeof line, '\n'));
    }
    std::sort(rows.rbegin(), rows.rend());
    std::cout << rows.size() << " rows, from " << rows.front() << " to " << rows.back() << "\n";

    std::cout << "made: " << mkdir(sub.c_str(), 0777) << ", renamed: " << std::rename(path.c_str(), other.c_str()) << "\n";
    std::cout << "a.txt: " << (File(std::fopen(path.c_str(), "r")) ? "there" : "not there") << "\n";
    std::cout << "b.txt: " << (File(std::fopen(other.c_str(), "r")) ? "there" : "not there") << "\n";
    std::cout << "removed: " << rmdir(sub.c_str()) << " " << std::remove(other.c_str()) << "\n";
}

static void moments() {
    using namespace std::chrono;
    auto begin = steady_clock::now();
    usleep(20 * 1000);
    auto slept = steady_clock::now() - begin;
    std::cout << "slept: " << (slept >= milliseconds(20) && slept < seconds(20)) << "\n";
    std::cout << "after 2020: " << (system_clock::now().time_since_epoch() > seconds(1577836800)) << "\n";
}

static void chance() {
    std::random_device device;
    unsigned one[] = {device(), device()}, two[] = {device(), device()};
    std::cout << "random differs: " << (one[0] != two[0] || one[1] != two[1]) << "\n";
    // The standard says what this one gives.
    std::mt19937_64 twister(42);
    std::cout << "twister: " << twister() << " " << twister() << "\n";
}

static void numbers() {
    const double values[] = {0.1, 1.0 / 3.0, 1e100, -2.5e-310, std::numeric_limits<double>::max(), -0.0, INFINITY};
    for (double value : values) {
        std::ostringstream text;
        text << value << " " << std::setprecision(17) << value << " " << std::scientific << std::setprecision(6) << value;
        std::cout << text.str() << "\n";
    }
    std::cout << std::stod("123456789.123456789") << " " << std::hex << 255 << " " << std::oct << 8 << std::dec << "\n";
    std::vector<std::unique_ptr<Shape>> shapes;
    shapes.push_back(std::make_unique<Circle>(2));
    shapes.push_back(std::make_unique<Square>(3));
    for (const auto &shape : shapes)
        std::cout << std::fixed << std::setprecision(4) << shape->area() << "\n";
}

int main(int argc, char **argv) {
    Witness local("local");
    for (const auto &[name, number] : made_before_main)
        std::cout << name << "=" << number << "\n";
    given(argc, argv);
    input();
    files(argv[1]);
    moments();
    chance();
    numbers();
    return 7;
}
