#include "net.h"
#include <stdio.h>
#include <stdlib.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES];
int main(void) {
    uint64_t bytes;
    net model;
    net_setup(&model, state, scratch);
    while (fread(&bytes, 8, 1, stdin) == 1) {
        unsigned char *file = (unsigned char *)malloc((size_t)bytes);
        if (fread(file, 1, (size_t)bytes, stdin) != bytes) return 1;
        printf("%d ", net_load_state(&model, file, (size_t)bytes));
        free(file);
    }
    return 0;
}
