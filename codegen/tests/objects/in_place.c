#include "net.h"
#include <stdio.h>
static unsigned char scratch[NET_SCRATCH_BYTES], state[NET_STATE_BYTES], file[NET_FILE_BYTES];
int main(void) {
    static float y[750];
    net model;
    net_setup(&model, NULL, scratch);
    if (net_answer(&model, y) != 0) return 1;
    net_save_state(&model, file);
    if (net_load_state(&model, file, NET_FILE_BYTES) != BROLGA_READ_ONLY) return 2;
    printf("%g ", (double)y[749]);
    net_setup(&model, state, scratch);
    if (net_load_state(&model, file, NET_FILE_BYTES) != 0 || net_answer(&model, y) != 0) return 3;
    printf("%g", (double)y[748]);
    return 0;
}
