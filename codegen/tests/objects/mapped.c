#include "net.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
static unsigned char scratch[NET_SCRATCH_BYTES];
int main(void) {
    static float y[750];
    size_t bytes = NET_STATE_BYTES;
    int file = open("state", O_RDONLY);
    unsigned char *mapped = (unsigned char *)mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    net model;
    if (mapped == MAP_FAILED) return 1;
    net_setup(&model, NULL, scratch);
    if (net_use_file(&model, mapped, bytes - 1) != BROLGA_NO_FILE) return 2;
    if (net_use_file(&model, mapped + 64, bytes) != BROLGA_NO_FILE) return 3;
    if (net_use_file(&model, mapped + 1, bytes) != BROLGA_NO_FILE) return 4;
    if (net_use_file(&model, NULL, 0) != BROLGA_NO_FILE) return 5;
    if (brolga_state_in(mapped, bytes, NET_STATE_KEY + 1, bytes - 64) != NULL) return 6;
    if (net_use_file(&model, mapped, bytes) != 0 || net_answer(&model, y) != 0) return 7;
    if (net_load_state(&model, mapped, bytes) != BROLGA_READ_ONLY) return 8;
    if (net_tensor(&model, NET_STATE_W) != (void *)(mapped + 64)) return 9;
    printf("%g", (double)y[749]);
    return munmap(mapped, bytes);
}
