/* The tracer's order to the loader, which it runs in place of a program whose interpreter the kernel would look for
 * outside of the root. The order is on the new stack, in front of its strings. */
#ifndef ORDER_H
#define ORDER_H
#include <stdint.h>

#define SEGMENTS 16
/* The sixth argument of calls that the filter lets pass; the kernel ignores it. */
#define PASS 0x70796275UL

struct segment {
	uint64_t vaddr, offset, filesz, memsz;
	uint32_t prot, pad;
};

struct image {
	uint32_t path; /* offset of the host's path, from the start of the order; 0: there is none */
	uint32_t count; /* of segments */
	uint64_t fixed; /* not relocatable */
	uint64_t low, span, align; /* of all segments, in whole pages */
	uint64_t entry, phdr; /* addresses in the image */
	struct segment segments[SEGMENTS];
};

struct order {
	uint64_t size; /* of all, with strings */
	struct image program, interpreter;
	uint32_t phnum, phent;
	uint32_t execfn; /* offset of a string */
	uint32_t words; /* arguments that take the place of argv[0] */
	uint32_t word[12]; /* offsets of strings */
	uint32_t uid, euid, gid, egid, secure, page;
	char comm[16];
};
#endif
