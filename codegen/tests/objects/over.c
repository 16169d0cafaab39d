#include "net.h"
#include <stdio.h>
static unsigned char scratch[NET_SCRATCH_BYTES];
static float memory[64 * 4];
int main(void) {
    static const int places[6] = {0, 1, 16, 64, -16, -63};
    float more[2] = {0, 1}, *x = (float *)(void *)brolga_aligned(memory) + 80;
    net model;
    net_setup(&model, NULL, scratch);
    for (int i = 0; i < 7; i++) {
        /* At last over the other input. */
        float *y = i < 6 ? x + places[i] : x + 64, *added = i < 6 ? more : y;
        int good = 1;
        y[1] = 1;
        for (int k = 0; k < 64; k++) x[k] = (float)k;
        if (net_turn(&model, x, added, y) != 0) return 1;
        for (int k = 0; k < 64; k++) good = good && y[k] == (float)(64 - k);
        printf("%d", good);
    }
    return 0;
}
