#include "base/alloc_fault.h"

#include <errno.h>
#include <stdlib.h>

static struct {
    size_t asked;
    size_t first;
    bool lasting;
    size_t live;
} fault;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void __wrap_free(void *memory);

void alloc_fault_arm(size_t first, bool lasting)
{
    fault.asked = 0;
    fault.first = first;
    fault.lasting = lasting;
}

size_t alloc_fault_disarm(void)
{
    fault.first = 0;
    return fault.asked;
}

size_t alloc_fault_live(void)
{
    return fault.live;
}

static bool fails(void)
{
    size_t number = ++fault.asked;
    return fault.first != 0 && (fault.lasting ? number >= fault.first : number == fault.first);
}

static void *made(void *memory)
{
    if (memory != NULL)
        fault.live++;
    else
        errno = ENOMEM;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return made(fails() ? NULL : __real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return made(fails() ? NULL : __real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return __wrap_malloc(size);
    return fails() ? NULL : __real_realloc(memory, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (fails())
        return ENOMEM;
    int result = __real_posix_memalign(memory, alignment, size);
    if (result == 0)
        fault.live++;
    return result;
}

void __wrap_free(void *memory)
{
    if (memory != NULL)
        fault.live--;
    __real_free(memory);
}
