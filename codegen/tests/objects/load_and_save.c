#include "net.h"
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], file[NET_FILE_BYTES + 1];
int main(void) {
    static float x[600];
    size_t bytes = fread(file, 1, sizeof file, stdin);
    net model;
    net_setup(&model, state, scratch);
    if (net_load_state(&model, file, bytes - 1) != BROLGA_NO_FILE) return 1;
    if (net_load_state(&model, file, bytes) != 0) return 2;
    for (int i = 0; i < 600; i++) x[i] = (float)i;
    if (net_everything(&model, x, NULL) != 0) return 3;
    net_save_state(&model, file);
    fwrite(file, 1, NET_FILE_BYTES, stdout);
    return 0;
}
