#include <stdlib.h>
#include "greet.h"

int main(int argc, char **argv) {
    const char *greeting = getenv("GREETING");
    for (int i = 1; i < argc; i++) greet(greeting ? greeting : "hello", argv[i]);
    return 0;
}
