#include "net.h"
#include "other.h"
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], more[OTHER_SCRATCH_BYTES];
int main(void) {
    net model;
    other second;
    net_setup(&model, state, scratch);
    other_setup(&second, state, more);
    brolga_refresh(&net_tensors[NET_STATE_W], (unsigned char *)net_tensor(&model, NET_STATE_W));
    float first;
    if (net_grow(&model) != 0 || other_grow(&second) != 0) return 1;
    memcpy(&first, net_tensor(&model, NET_STATE_W), 4);
    printf("%g", (double)first);
    return 0;
}
