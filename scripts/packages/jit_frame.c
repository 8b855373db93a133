/*
 * LuaJIT registers the unwind data of its compiled code in the form libgcc expects: the start of a
 * section with a CIE and one FDE. LLVM's libunwind, which zig links, expects a single FDE and
 * ignores anything else: an error in compiled code (out of memory) could then not be unwound.
 */
#include <stdint.h>
#include <string.h>

extern void __register_frame(const void *fde);
extern void __deregister_frame(const void *fde);

static const void *first_fde(const void *section)
{
    uint32_t cie_length;
    memcpy(&cie_length, section, sizeof(cie_length));
    return (const unsigned char *)section + sizeof(cie_length) + cie_length;
}

void moonring_register_frame(const void *section)
{
    __register_frame(first_fde(section));
}

void moonring_deregister_frame(const void *section)
{
    __deregister_frame(first_fde(section));
}
