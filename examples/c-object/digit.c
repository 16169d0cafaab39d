/* What lenet5 says of a picture: an object with the code, and a file with the weights, which is mapped and used where it lies.

   $ brolga train lenet5 --epochs 2 --save lenet5.safetensors
   $ brolga build lenet5 --dim batch=1 --weights lenet5.safetensors --mapped lenet5.weights -o lenet5.o
   $ cc -O2 digit.c lenet5.o -o digit
   $ ./digit lenet5.weights seven.pgm
*/
#include "lenet5.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* All memory that the model needs besides its weights. Compiled code allocates nothing. */
static unsigned char scratch[LENET5_SCRATCH_BYTES];

/* A file as memory, and how many bytes it has. The end of the program gives it back. */
static const void *mapped(const char *name, size_t *bytes) {
    struct stat about;
    int file = open(name, O_RDONLY);
    if (file < 0 || fstat(file, &about) != 0) return NULL;
    *bytes = (size_t)about.st_size;
    void *memory = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Reads a picture of 28 x 28 pixels, each a byte behind a header. The model takes numbers from 0 (black) to 1 (white). */
static int read_picture(const char *name, float *image) {
    unsigned char pixels[28 * 28];
    int width, height, most;
    FILE *file = fopen(name, "rb");
    if (file == NULL) return 0;
    int good = fscanf(file, "P5 %d %d %d", &width, &height, &most) == 3 && fgetc(file) != EOF;
    good = good && width == 28 && height == 28 && most == 255;
    good = good && fread(pixels, 1, sizeof pixels, file) == sizeof pixels;
    fclose(file);
    for (int i = 0; good && i < 28 * 28; i++) image[i] = (float)pixels[i] / 255;
    return good;
}

static int failed(const char *why) {
    fprintf(stderr, "%s\n", why);
    return 1;
}

int main(int count, char **words) {
    float image[28 * 28], probability[10];
    size_t bytes;
    lenet5 model;
    if (count != 3) return failed("usage: digit WEIGHTS PICTURE");
    const void *weights = mapped(words[1], &bytes);
    lenet5_setup(&model, NULL, scratch);
    if (weights == NULL || lenet5_use_file(&model, weights, bytes) != 0) return failed("these are no weights of the model");
    if (!read_picture(words[2], image)) return failed("this is no picture (PGM, 28 x 28 bytes)");
    if (lenet5_infer(&model, image, probability) != 0) return failed("an input is out of its range");
    for (int digit = 0; digit < 10; digit++) printf("%d: %5.1f %%\n", digit, (double)probability[digit] * 100);
    return 0;
}
