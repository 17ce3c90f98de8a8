#include <stdio.h>
#include "greet.h"

void greet(const char *greeting, const char *whom) { printf("%s, %s\n", greeting, whom); }
