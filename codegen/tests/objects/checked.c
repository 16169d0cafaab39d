#include "net.h"
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES];
int main(void) {
    int32_t index[3] = {0, 4, 2};
    uint8_t keep[3] = {1, 0, 1};
    float y[3] = {-1, -1, -1}, class_ = 0;
    net model;
    net_setup(&model, state, scratch);
    for (int i = 0; i < 100; i++) {
        float value = (float)i + 1;
        memcpy((char *)net_tensor(&model, NET_STATE_TOTAL) + 4 * i, &value, 4);
    }
    index[1] = 5;
    printf("%d", net_pick(&model, index, keep, 2, y, &class_));
    index[1] = -1;
    printf("%d", net_pick(&model, index, keep, 2, y, &class_));
    index[1] = 4;
    keep[2] = 2;
    printf("%d", net_pick(&model, index, keep, 2, y, &class_));
    printf(" %g %g", (double)y[1], (double)class_);
    keep[2] = 1;
    printf(" %d", net_pick(&model, index, keep, 2, y, NULL));
    printf(" %g %g %g", (double)y[0], (double)y[1], (double)y[2]);
    printf(" %d", net_pick(&model, index, keep, 3, NULL, &class_));
    printf(" %g", (double)class_);
    return 0;
}
