/* C++: the standard library, a constructor before main, an exception. */
#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>
#include "eapp.h"
#include "print.h"

namespace
{

struct Greeting {
    std::string text;
    Greeting() : text("made before main") {}
    ~Greeting() { eapp_print("cxx: destroyed after main\n"); }
} greeting;

unsigned long at(const std::vector<unsigned long> &numbers, std::size_t index)
{
    try {
        return numbers.at(index);
    } catch (const std::out_of_range &) {
        eapp_print("cxx: there is no number %zu\n", index);
        return 0;
    }
}

} // namespace

int EAPP_ENTRY main()
{
    std::vector<unsigned long> numbers(100);
    std::iota(numbers.begin(), numbers.end(), 1);
    std::reverse(numbers.begin(), numbers.end());
    eapp_print("cxx: %s; %lu %lu\n", greeting.text.c_str(), numbers.front(), at(numbers, 100));
    EAPP_RETURN(std::accumulate(numbers.begin(), numbers.end(), 0UL));
}
