#include "net.h"
#include <stdio.h>
#ifdef __cplusplus
extern "C"
#endif
    int grow_twice(net *model);
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES];
int main(void) {
    float first;
    net model;
    net_setup(&model, state, scratch);
    if (grow_twice(&model) != 0 || net_grow(&model) != 0) return 1;
    memcpy(&first, net_tensor(&model, NET_STATE_W), 4);
    printf("%g", (double)first);
    return 0;
}
