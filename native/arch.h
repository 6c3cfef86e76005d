/* The differences between x86-64 and aarch64: the registers of a stopped call. */
#ifndef ARCH_H
#define ARCH_H
#include <elf.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#if defined(__x86_64__)
#define AUDIT_NATIVE 0xC000003EU
#define MACHINE EM_X86_64
typedef struct user_regs_struct regs_t;
#define REG_NR(r) ((long)(r)->orig_rax)
#define REG_RET(r) ((r)->rax)
#define REG_SP(r) ((r)->rsp)
#define REG_ORDER(r) ((r)->rdi)
static inline uint64_t *reg_arg(regs_t *r, int n)
{
	switch (n) {
	case 0: return (uint64_t *)&r->rdi;
	case 1: return (uint64_t *)&r->rsi;
	case 2: return (uint64_t *)&r->rdx;
	case 3: return (uint64_t *)&r->r10;
	case 4: return (uint64_t *)&r->r8;
	default: return (uint64_t *)&r->r9;
	}
}
#elif defined(__aarch64__)
#define AUDIT_NATIVE 0xC00000B7U
#define MACHINE EM_AARCH64
typedef struct {
	unsigned long long regs[31], sp, pc, pstate;
} regs_t;
#define REG_NR(r) ((long)(int)(r)->regs[8])
#define REG_RET(r) ((r)->regs[0])
#define REG_SP(r) ((r)->sp)
#define REG_ORDER(r) ((r)->regs[1]) /* x0 is overwritten by execve's result */
static inline uint64_t *reg_arg(regs_t *r, int n)
{
	return (uint64_t *)&r->regs[n];
}
#else
#error "only x86-64 and aarch64"
#endif

static inline int regs_get(int tid, regs_t *r)
{
	struct iovec iov = {r, sizeof *r};
	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &iov);
}

static inline int regs_set(int tid, regs_t *r)
{
	struct iovec iov = {r, sizeof *r};
	return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &iov);
}

/* Skip the call of a process in a seccomp stop, and give it this result. */
static inline int regs_skip(int tid, regs_t *r, long result)
{
#if defined(__x86_64__)
	r->orig_rax = -1;
	r->rax = (unsigned long)result;
	return regs_set(tid, r);
#else
	int none = -1;
	struct iovec iov = {&none, sizeof none};
	r->regs[0] = (unsigned long long)result;
	if (regs_set(tid, r))
		return -1;
	return ptrace(PTRACE_SETREGSET, tid, (void *)0x404 /* NT_ARM_SYSTEM_CALL */, &iov);
#endif
}
#endif
