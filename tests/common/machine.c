#include "net.h"
#include <stdio.h>
#include <stdlib.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], saved[NET_FILE_BYTES];
static unsigned char *memory(size_t bytes) {
    unsigned char *to = malloc(bytes + 64);
    if (to == NULL) exit(3);
    return brolga_aligned(to);
}
static unsigned char *get(size_t bytes) {
    unsigned char *to = memory(bytes);
    if (fread(to, 1, bytes, stdin) != bytes) exit(2);
    return to;
}
/* Reads the inputs of an entry, whose bytes end with SIZE_MAX and whose first base is `at`, and writes its outputs. */
static void call(net *model, void (*begin)(net *, unsigned char **, brolga_block *), void (*entry)(const brolga_block *),
                 int at, const size_t *inputs, const size_t *outputs) {
    static unsigned char *bases[1 << 16];
    brolga_block block;
    begin(model, bases, &block);
    for (; *inputs != SIZE_MAX; inputs++) bases[at++] = get(*inputs);
    for (int i = 0; outputs[i] != SIZE_MAX; i++) bases[at + i] = memory(outputs[i]);
    entry(&block);
    for (int i = 0; outputs[i] != SIZE_MAX; i++) fwrite(bases[at + i], 1, outputs[i], stdout);
    net_changed(model);
}
int main(void) {
    net model;
    uint64_t bytes;
    net_setup(&model, state, scratch);
    memcpy(&bytes, get(8), 8);
    if (net_load_state(&model, get(bytes), bytes) != 0) return 1;
