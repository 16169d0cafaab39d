#include "net.h"
#include <stdio.h>
#include <stdlib.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], from[1 << 16];
static uint64_t seed = 88172645463325252u;
static size_t below(size_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % n);
}
int main(int count, char **words) {
    size_t bytes = fread(from, 1, sizeof from, stdin), kinds[3] = {0, 0, 0};
    long rounds = count > 1 ? atol(words[1]) : 20000;
    net model;
    net_setup(&model, state, scratch);
    while (rounds-- > 0) {
        size_t own = below(4) == 0 ? below(bytes + 1) : bytes;
        unsigned char *file = (unsigned char *)malloc(own + 1);
        memcpy(file + 1, from, own);
        /* Mostly the header, and mostly what it is made of. */
        for (size_t changes = below(4) + (own == bytes); own > 0 && changes > 0; changes--) {
            size_t place = below(8) == 0 ? below(own) : below(own < 300 ? own : 300);
            file[1 + place] = below(2) == 0 ? (unsigned char)below(256) : (unsigned char)"\"\\{}[],:0123u "[below(14)];
        }
        int found = net_load_state(&model, file + 1, own);
        kinds[found == 0 ? 0 : found > 0 ? 1 : 2]++;
        free(file);
    }
    return kinds[0] > 0 && kinds[1] > 0 && kinds[2] > 0 ? 0 : 1;
}
