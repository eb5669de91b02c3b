#include <iostream>
#include <random>
int main()
{
    std::random_device device;
    std::cout << (device() != device()) << std::endl;
    return 0;
}
