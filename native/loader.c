/* Maps a program and its interpreter as the kernel does in execve, from files that the tracer names, and starts it.
 *
 * The kernel looks for a program's interpreter (ld.so) in the machine's root, not in the one that the tracer shows;
 * so the tracer executes this instead. It has no data of its own: the order (order.h) lies below the new stack, and
 * its address is in a register. */
#include <stddef.h>

#include "order.h"

/* The part of the kernel's interface that is needed, since a program without a C library has no headers for it. */
#define AT_FDCWD (-100)
#define O_RDONLY 0
#define O_CLOEXEC 02000000
#define PROT_NONE 0
#define PROT_WRITE 2
#define MAP_PRIVATE 2
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define PR_SET_NAME 15
enum { AT_NULL = 0, AT_PHDR = 3, AT_PHENT, AT_PHNUM, AT_BASE = 7, AT_ENTRY = 9, AT_UID = 11, AT_EUID, AT_GID, AT_EGID,
       AT_SECURE = 23, AT_EXECFN = 31 };
#if defined(__x86_64__)
enum { SYS_close = 3, SYS_mmap = 9, SYS_munmap = 11, SYS_prctl = 157, SYS_exit_group = 231, SYS_openat = 257 };
#else
enum { SYS_openat = 56, SYS_close = 57, SYS_exit_group = 94, SYS_prctl = 167, SYS_munmap = 215, SYS_mmap = 222 };
#endif

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n"
	"mov %rsp, %rsi\n" /* the stack that the kernel made */
	"lea -256(%rdi), %rsp\n"
	"and $-16, %rsp\n"
	"call load\n"
	"mov 8(%rax), %rcx\n"
	"mov (%rax), %rsp\n"
	"xor %edx, %edx\nxor %ebp, %ebp\nxor %ebx, %ebx\nxor %esi, %esi\nxor %edi, %edi\nxor %eax, %eax\n"
	"jmp *%rcx\n");
static long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#else
__asm__(".text\n.globl _start\n_start:\n"
	"mov x0, x1\n"
	"mov x1, sp\n"
	"sub x2, x0, #256\n"
	"and x2, x2, #-16\n"
	"mov sp, x2\n"
	"bl load\n"
	"ldr x16, [x0, #8]\n"
	"ldr x1, [x0]\n"
	"mov sp, x1\n"
	"mov x0, #0\nmov x1, #0\nmov x2, #0\nmov x29, #0\nmov x30, #0\n"
	"br x16\n");
static long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#endif

/* The compiler may emit calls to these. */
void *memset(void *to, int value, size_t n)
{
	volatile unsigned char *p = to;
	while (n--)
		*p++ = (unsigned char)value;
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	volatile unsigned char *p = to;
	const unsigned char *q = from;
	while (n--)
		*p++ = *q++;
	return to;
}

static void die(void)
{
	call6(SYS_exit_group, 127, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

static long map(unsigned long at, unsigned long size, int prot, int flags, int fd, unsigned long offset)
{
	long got = call6(SYS_mmap, (long)at, (long)size, prot, flags, fd, (long)offset);
	if (got < 0 && got > -4096)
		die();
	return got;
}

/* Map an image; return the offset to add to its addresses. */
static unsigned long map_image(struct order *order, struct image *image)
{
	int fd = (int)call6(SYS_openat, AT_FDCWD, (long)((char *)order + image->path), O_RDONLY | O_CLOEXEC, 0, 0, PASS);
	if (fd < 0)
		die();
	unsigned long base = 0, page = order->page;
	if (!image->fixed) {
		unsigned long extra = image->align > page ? image->align : 0;
		unsigned long got =
			(unsigned long)map(0, image->span + extra, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		unsigned long at = extra ? (got + extra - 1) & ~(extra - 1) : got;
		if (at > got)
			call6(SYS_munmap, (long)got, (long)(at - got), 0, 0, 0, 0);
		if (got + extra > at)
			call6(SYS_munmap, (long)(at + image->span), (long)(got + extra - at), 0, 0, 0, 0);
		base = at - image->low;
	}
	for (unsigned n = 0; n < image->count; n++) {
		struct segment *s = &image->segments[n];
		unsigned long start = base + s->vaddr, first = start & ~(page - 1), skip = start - first;
		unsigned long file_end = start + s->filesz, end = start + s->memsz;
		int prot = (int)s->prot;
		if (s->filesz)
			map(first, s->filesz + skip, prot, MAP_PRIVATE | MAP_FIXED, fd, s->offset - skip);
		if (end > file_end) {
			unsigned long next = s->filesz ? (file_end + page - 1) & ~(page - 1) : first;
			if (s->filesz && (prot & PROT_WRITE) && next > file_end)
				memset((void *)file_end, 0, next - file_end);
			if (end > next)
				map(next, end - next, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
		}
	}
	call6(SYS_close, fd, 0, 0, 0, 0, 0);
	return base;
}

__attribute__((used)) unsigned long *load(struct order *order, unsigned long *stack)
{
	unsigned long base = map_image(order, &order->program), entry = base + order->program.entry, other = 0;
	if (order->interpreter.path) {
		other = map_image(order, &order->interpreter);
		entry = other + order->interpreter.entry;
	}
	call6(SYS_prctl, PR_SET_NAME, (long)order->comm, 0, 0, 0, 0);
	unsigned long count = stack[0], *from = stack + 1, *end = from;
	while (*end) /* argv */
		end++;
	end++;
	while (*end) /* environment */
		end++;
	end++;
	while (end[0] != AT_NULL)
		end += 2;
	end += 2;
	unsigned long words = order->words ? order->words : 0, dropped = words && count ? 1 : 0;
	unsigned long size = (unsigned long)(end - from) - dropped + words + 1;
	/* The result is built below the order, whose strings stay in place, and below our own frame, which is there too. */
	unsigned long *top = (unsigned long *)(((unsigned long)order - 4096 - size * 8) & ~15UL), *to = top;
	*to++ = count - dropped + words;
	for (unsigned long n = 0; n < words; n++)
		*to++ = (unsigned long)order + order->word[n];
	from += dropped;
	unsigned long *vector = to;
	while (from < end)
		*to++ = *from++;
	while (*vector)
		vector++;
	vector++;
	while (*vector)
		vector++;
	for (unsigned long *aux = vector + 1; aux[0] != AT_NULL; aux += 2) {
		switch (aux[0]) {
		case AT_PHDR: aux[1] = base + order->program.phdr; break;
		case AT_PHENT: aux[1] = order->phent; break;
		case AT_PHNUM: aux[1] = order->phnum; break;
		case AT_BASE: aux[1] = other; break;
		case AT_ENTRY: aux[1] = base + order->program.entry; break;
		case AT_EXECFN: aux[1] = (unsigned long)order + order->execfn; break;
		case AT_UID: aux[1] = order->uid; break;
		case AT_EUID: aux[1] = order->euid; break;
		case AT_GID: aux[1] = order->gid; break;
		case AT_EGID: aux[1] = order->egid; break;
		case AT_SECURE: aux[1] = order->secure; break;
		}
	}
	/* Hand them back in the two words under the new stack. */
	top[-1] = entry;
	top[-2] = (unsigned long)top;
	return top - 2;
}
