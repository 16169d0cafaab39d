#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include "net.h"
/* What the library has, found by name; the header is for sizes. */
typedef void call(const brolga_block *block);
typedef const unsigned char *data(void);
static unsigned char arena[NET_ANSWER_ARENA_BYTES + 64], prepared[NET_ANSWER_PREPARED_BYTES + 64];
static unsigned char output[NET_ANSWER_OUTPUT_Y_BYTES + 64];
int main(void) {
    void *library = dlopen("./libnet.so", RTLD_NOW);
    call *prepare, *run;
    data *weights;
    float y;
    if (library == NULL) return 1;
    *(void **)&prepare = dlsym(library, "net_answer_prepare");
    *(void **)&run = dlsym(library, "net_answer_call");
    *(void **)&weights = dlsym(library, "net_weights_begin");
    if (prepare == NULL || run == NULL || weights == NULL || dlsym(library, "net_run") != NULL) return 2;
    if ((uintptr_t)weights() % 64 != 0) return 3;
    unsigned char *bases[NET_ANSWER_BASES] = {brolga_aligned(arena), brolga_aligned(prepared)};
    bases[NET_ANSWER_STATE_W] = (unsigned char *)weights() + net_tensors[NET_STATE_W].offset;
    bases[NET_ANSWER_OUTPUT_Y] = brolga_aligned(output);
    brolga_block block = {bases, brolga_serial_for, NULL, 0};
    prepare(&block);
    run(&block);
    memcpy(&y, bases[NET_ANSWER_OUTPUT_Y] + 4 * 749, 4);
    printf("%g", (double)y);
    return dlclose(library);
}
