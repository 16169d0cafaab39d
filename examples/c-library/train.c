/* A program that trains: a library with three entry points of one model, which share its state. What is saved, `brolga` reads.

   $ brolga build bars.ron --entry init,train,infer --dim train.batch=32 --dim infer.batch=1 -o libbars.a
   $ cc -O2 train.c -L. -lbars -o train
   $ ./train bars.safetensors
*/
#include "bars.h"
#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, BATCH = 32, STEPS = 200, TESTS = 200 };

/* Memory is the program's: the state, what a call needs, and a file of the state. */
static unsigned char state[BARS_STATE_BYTES], scratch[BARS_SCRATCH_BYTES], file[BARS_FILE_BYTES];

/* Draws a bar among noise: across (0), down (1), or slanting (2). */
static void draw(float *image, int32_t *label) {
    int at = rand() % 8;
    *label = rand() % 3;
    for (int i = 0; i < PIXELS; i++) image[i] = (float)(rand() % 100) / 200;
    for (int i = 0; i < 8; i++) image[*label == 0 ? 8 * at + i : *label == 1 ? 8 * i + at : 8 * i + (i + at) % 8] = 1;
}

int main(int count, char **words) {
    static float images[BATCH * PIXELS];
    int32_t labels[BATCH], label, right = 0;
    float loss, probability[3];
    bars model;
    bars_setup(&model, state, scratch);
    bars_init(&model, 1);
    for (int step = 1; step <= STEPS; step++) {
        for (int i = 0; i < BATCH; i++) draw(images + i * PIXELS, labels + i);
        if (bars_train_step(&model, images, labels, &loss) != 0) return 1;
        if (step % 100 == 0) printf("step %d: loss %.3f\n", step, (double)loss);
    }
    for (int test = 0; test < TESTS; test++) {
        draw(images, &label);
        if (bars_infer(&model, images, probability) != 0) return 1;
        right += probability[label] > 0.5f;
    }
    printf("right: %d of %d\n", right, TESTS);
    /* What the model knows lies in the state, tensor by tensor. */
    for (int i = 0; i < BARS_TENSORS; i++) {
        if (bars_tensors[i].kind == BROLGA_PARAMETER) printf("%s: %d bytes\n", bars_tensors[i].name, (int)bars_tensors[i].bytes);
    }
    bars_save_state(&model, file);
    FILE *out = count > 1 ? fopen(words[1], "wb") : NULL;
    if (out == NULL) return 1;
    size_t written = fwrite(file, 1, BARS_FILE_BYTES, out);
    return fclose(out) != 0 || written != BARS_FILE_BYTES;
}
