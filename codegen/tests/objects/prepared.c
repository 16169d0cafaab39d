#include "net.h"
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], others[NET_SHARED_BYTES];
int main(void) {
    static float y[750];
    net model, other;
    net_setup(&model, state, scratch);
    float one = 1;
    for (int i = 0; i < 750; i++) memcpy((char *)net_tensor(&model, NET_STATE_W) + 4 * i, &one, 4);
    for (int i = 0; i < 2; i++) {
        if (net_answer(&model, y) != 0) return 1;
        printf("%g ", (double)y[749]);
        if (net_grow(&model) != 0) return 1;
    }
    net_share(&model, &other, others);
    if (net_answer(&other, y) != 0) return 1;
    printf("%g ", (double)y[0]);
    one = 10;
    memcpy(net_tensor(&model, NET_STATE_W), &one, 4);
    if (net_answer(&model, y) != 0) return 1;
    printf("%g ", (double)y[0]);
    net_changed(&model);
    if (net_answer(&model, y) != 0) return 1;
    printf("%g", (double)y[0]);
    return 0;
}
