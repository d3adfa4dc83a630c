/* A driver of CUDA that starts nothing: it writes what it is asked to do into a file, a line for each call.

   It reads as many bytes of each parameter as stub_sizes said, which is what the function would read. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500, SHARED_ATTRIBUTE = 8, SMALL = 48 * 1024 };

static int sizes[64], count, permitted[64], functions;
static char names[64][256];
static int images;

static FILE *file(void) { return fopen(getenv("STUB_CUDA_LOG"), "a"); }

void stub_sizes(int n, const int *given) {
    count = n;
    memcpy(sizes, given, n * sizeof(int));
}

int cuInit(unsigned flags) { return OK; }

int cuModuleLoadData(void **module, const void *image) {
    if (memcmp(image, "\177ELF", 4)) return INVALID_IMAGE;
    *module = (void *)(intptr_t)(0x1000 + images++);
    return OK;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    if (functions == 64 || strlen(name) > 255) return NOT_FOUND;
    strcpy(names[functions], name);
    *function = (void *)(intptr_t)++functions;
    return OK;
}

int cuFuncSetAttribute(void *function, int attribute, int value) {
    if (attribute != SHARED_ATTRIBUTE) return INVALID_VALUE;
    permitted[(intptr_t)function - 1] = value;
    return OK;
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    int f = (int)(intptr_t)function - 1;
    if (shared > SMALL && (int)shared > permitted[f]) return INVALID_VALUE;
    if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || bx * by * bz > 1024 || extra) return INVALID_VALUE;
    FILE *out = file();
    fprintf(out, "%s %u %u %u %u %u %u %u %lu", names[f], gx, gy, gz, bx, by, bz, shared, (unsigned long)stream);
    for (int i = 0; i < count; i++) {
        fprintf(out, " ");
        for (int k = 0; k < sizes[i]; k++) fprintf(out, "%02x", ((uint8_t *)parameters[i])[k]);
    }
    fprintf(out, "\n");
    fclose(out);
    return OK;
}

int cuGetErrorName(int error, const char **text) { *text = "STUB_ERROR"; return OK; }
int cuGetErrorString(int error, const char **text) { *text = "the stub refuses"; return OK; }
