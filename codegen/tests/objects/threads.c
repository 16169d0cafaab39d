#include "net.h"
#include <pthread.h>
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES_FOR(2)];
typedef struct task {
    brolga_kernel *kernel;
    const brolga_block *block;
    const uint64_t *row;
    uint64_t parts, worker;
} task;
static int threads;
static void *work(void *argument) {
    task *own = (task *)argument;
    for (uint64_t part = own->worker; part < own->parts; part += 2) own->kernel(own->block, own->row, part, own->worker);
    return NULL;
}
static void both(void *pool, brolga_kernel *kernel, const brolga_block *block, const uint64_t *row, uint64_t parts) {
    task tasks[2] = {{kernel, block, row, parts, 0}, {kernel, block, row, parts, 1}};
    pthread_t other;
    ++*(int *)pool;
    if (pthread_create(&other, NULL, work, &tasks[1]) != 0) {
        brolga_serial_for(NULL, kernel, block, row, parts);
        return;
    }
    work(&tasks[0]);
    pthread_join(other, NULL);
}
int main(void) {
    net model;
    net_setup(&model, state, scratch);
    net_threads(&model, both, &threads);
    if (fread(net_tensor(&model, 0), 4, 64 * 4099, stdin) != 64 * 4099) return 1;
    if (fread(net_tensor(&model, 1), 4, 64 * 4099, stdin) != 64 * 4099) return 1;
    if (net_product(&model) != 0 || threads == 0) return 2;
    fwrite(net_tensor(&model, 2), 4, 64 * 4099, stdout);
    return 0;
}
