/*
 * Writes the requests of the wire documents as inputs for fuzz_conn, one file each:
 *
 *     write_seeds test/wire build/fuzz/corpus
 */
#include <stdio.h>
#include <stdlib.h>

#include "wire_doc.h"

/* Longer ones make the fuzzer slow and add no coverage. */
#define SEED_MAX 2048

static void write_seed(const char *path, const hs_buf_t *request, size_t number)
{
    unsigned char control[4] = { (unsigned char)number, (unsigned char)(number * 7), 1,
                                 number % 2 ? 8 : 0 };
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(control, sizeof(control), 1, file) != 1 ||
        fwrite(request->data, request->len, 1, file) != 1 || fclose(file) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "write_seeds <documents> <directory>\n");
        return 2;
    }
    wire_cases_t cases = wire_doc_load(argv[1]);
    size_t written = 0;
    for (size_t i = 0; i < cases.count; i++) {
        if (cases.at[i].request.len > SEED_MAX)
            continue;
        char path[4096];
        snprintf(path, sizeof(path), "%s/wire-%zu", argv[2], i);
        write_seed(path, &cases.at[i].request, i);
        written++;
    }
    wire_doc_free(&cases);
    printf("%zu seeds\n", written);
    return written == 0;
}
