#include "net.h"
#include <stdio.h>
#include <stdlib.h>
/* What begins anywhere has room for its alignment. */
static unsigned char state[NET_STATE_BYTES + 3], scratch[NET_SCRATCH_BYTES + 1];
static void *given[16];
static int count;
static unsigned char *memory(size_t bytes) { return brolga_aligned(given[count++] = malloc(bytes + 64)); }
static int get(void *to, size_t bytes) { return fread(to, 1, bytes, stdin) == bytes; }
static int by_block(float *x) {
    unsigned char *bases[NET_EVERYTHING_BASES];
    bases[BROLGA_ARENA] = memory(NET_EVERYTHING_ARENA_BYTES);
    bases[BROLGA_PREPARED] = memory(NET_EVERYTHING_PREPARED_BYTES);
    bases[BROLGA_CONSTANTS] = (unsigned char *)net_constants;
    bases[BROLGA_LOCAL] = memory(NET_LOCAL_BYTES);
    bases[NET_EVERYTHING_INPUT_X] = (unsigned char *)x;
    bases[NET_EVERYTHING_STATE_W] = memory(NET_EVERYTHING_STATE_W_BYTES);
    bases[NET_EVERYTHING_STATE_TOTAL] = memory(NET_EVERYTHING_STATE_TOTAL_BYTES);
    bases[NET_EVERYTHING_OUTPUT_Y] = memory(NET_EVERYTHING_OUTPUT_Y_BYTES);
    if (!get(bases[NET_EVERYTHING_STATE_W], NET_EVERYTHING_STATE_W_BYTES)) return 1;
    if (!get(bases[NET_EVERYTHING_STATE_TOTAL], NET_EVERYTHING_STATE_TOTAL_BYTES)) return 1;
    brolga_block block = {bases, brolga_serial_for, NULL, net_processor()};
    net_everything_prepare(&block);
    net_everything_call(&block);
    fwrite(bases[NET_EVERYTHING_OUTPUT_Y], 1, NET_EVERYTHING_OUTPUT_Y_BYTES, stdout);
    fwrite(bases[NET_EVERYTHING_STATE_TOTAL], 1, NET_EVERYTHING_STATE_TOTAL_BYTES, stdout);
    while (count > 0) free(given[--count]);
    return 0;
}
static int by_function(float *x) {
    static float room[501];
    net model;
    net_setup(&model, state + 3, scratch + 1);
    for (int i = 0; i < NET_TENSORS; i++) {
        if (!get(net_tensor(&model, i), net_tensors[i].bytes)) return 1;
    }
    net_changed(&model);
    /* Wherever the output lies. */
    if (net_everything(&model, x, room + 1) != 0) return 1;
    fwrite(room + 1, 4, 500, stdout);
    fwrite(net_tensor(&model, NET_STATE_TOTAL), 1, net_tensors[NET_STATE_TOTAL].bytes, stdout);
    return 0;
}
int main(void) {
    static float x[600];
    if (!get(x, sizeof x) || by_block(x) != 0 || by_function(x) != 0) return 1;
    return 0;
}
