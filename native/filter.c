/* Which calls stop, and how: the table of calls, and the seccomp filter generated from it. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "calls.h"
#include "order.h"

enum { PATHS = 1, IDS = 2, BOTH = 3 };
/* NOTIFY: answered by the thread that listens. STOP: in a ptrace stop, where registers can be changed. */
enum { NOTIFY, STOP };
enum { ANY, CREATING, ADDRESSED, OPTION };

static const struct row {
	int nr;
	handler call;
	int when; /* the options that make it stop */
	int how;
	int condition;
	int argument; /* the argument that the condition tests */
} rows[] = {
#define ROW(name, ...) {SYS_##name, do_##name, __VA_ARGS__}
#ifdef SYS_open
	ROW(open, BOTH, NOTIFY, CREATING, 1), ROW(creat, BOTH, NOTIFY, ANY, 0), ROW(stat, BOTH, NOTIFY, ANY, 0),
	ROW(lstat, BOTH, NOTIFY, ANY, 0), ROW(access, BOTH, NOTIFY, ANY, 0), ROW(readlink, PATHS, NOTIFY, ANY, 0),
	ROW(mkdir, BOTH, NOTIFY, ANY, 0), ROW(unlink, BOTH, NOTIFY, ANY, 0), ROW(rmdir, BOTH, NOTIFY, ANY, 0),
	ROW(rename, BOTH, NOTIFY, ANY, 0), ROW(renameat, BOTH, NOTIFY, ANY, 0), ROW(link, BOTH, NOTIFY, ANY, 0),
	ROW(symlink, BOTH, NOTIFY, ANY, 0), ROW(mknod, BOTH, NOTIFY, ANY, 0), ROW(chmod, BOTH, NOTIFY, ANY, 0),
	ROW(chown, BOTH, NOTIFY, ANY, 0), ROW(lchown, BOTH, NOTIFY, ANY, 0), ROW(utime, PATHS, NOTIFY, ANY, 0),
	ROW(utimes, PATHS, NOTIFY, ANY, 0), ROW(futimesat, PATHS, NOTIFY, ANY, 0),
#else
	{SYS_renameat, do_renameat, BOTH, NOTIFY, ANY, 0},
#endif
	ROW(openat, BOTH, NOTIFY, CREATING, 2), ROW(openat2, PATHS, NOTIFY, ANY, 0),
	ROW(newfstatat, BOTH, NOTIFY, ANY, 0), ROW(fstat, IDS, NOTIFY, ANY, 0), ROW(statx, BOTH, NOTIFY, ANY, 0),
	ROW(faccessat, BOTH, NOTIFY, ANY, 0), {439, do_faccessat2, BOTH, NOTIFY, ANY, 0},
	ROW(readlinkat, PATHS, NOTIFY, ANY, 0), ROW(statfs, PATHS, NOTIFY, ANY, 0), ROW(getcwd, PATHS, NOTIFY, ANY, 0),
	ROW(mkdirat, BOTH, NOTIFY, ANY, 0), ROW(unlinkat, BOTH, NOTIFY, ANY, 0),
	ROW(renameat2, BOTH, NOTIFY, ANY, 0), ROW(linkat, BOTH, NOTIFY, ANY, 0),
	ROW(symlinkat, BOTH, NOTIFY, ANY, 0), ROW(mknodat, BOTH, NOTIFY, ANY, 0), ROW(fchmod, BOTH, NOTIFY, ANY, 0),
	ROW(fchmodat, BOTH, NOTIFY, ANY, 0), {452, do_fchmodat2, BOTH, NOTIFY, ANY, 0},
	ROW(fchown, BOTH, NOTIFY, ANY, 0), ROW(fchownat, BOTH, NOTIFY, ANY, 0),
	ROW(utimensat, PATHS, NOTIFY, ANY, 0), ROW(truncate, PATHS, NOTIFY, ANY, 0),
	ROW(setxattr, BOTH, NOTIFY, ANY, 0), ROW(lsetxattr, BOTH, NOTIFY, ANY, 0),
	ROW(fsetxattr, BOTH, NOTIFY, ANY, 0), ROW(getxattr, BOTH, NOTIFY, ANY, 0),
	ROW(lgetxattr, BOTH, NOTIFY, ANY, 0), ROW(fgetxattr, BOTH, NOTIFY, ANY, 0),
	ROW(listxattr, BOTH, NOTIFY, ANY, 0), ROW(llistxattr, BOTH, NOTIFY, ANY, 0),
	ROW(flistxattr, BOTH, NOTIFY, ANY, 0), ROW(removexattr, BOTH, NOTIFY, ANY, 0),
	ROW(lremovexattr, BOTH, NOTIFY, ANY, 0), ROW(fremovexattr, BOTH, NOTIFY, ANY, 0),
	ROW(getuid, IDS, NOTIFY, ANY, 0), ROW(geteuid, IDS, NOTIFY, ANY, 0), ROW(getgid, IDS, NOTIFY, ANY, 0),
	ROW(getegid, IDS, NOTIFY, ANY, 0), ROW(getresuid, IDS, NOTIFY, ANY, 0), ROW(getresgid, IDS, NOTIFY, ANY, 0),
	ROW(setuid, IDS, NOTIFY, ANY, 0), ROW(setgid, IDS, NOTIFY, ANY, 0), ROW(setreuid, IDS, NOTIFY, ANY, 0),
	ROW(setregid, IDS, NOTIFY, ANY, 0), ROW(setresuid, IDS, NOTIFY, ANY, 0), ROW(setresgid, IDS, NOTIFY, ANY, 0),
	ROW(setfsuid, IDS, NOTIFY, ANY, 0), ROW(setfsgid, IDS, NOTIFY, ANY, 0), ROW(getgroups, IDS, NOTIFY, ANY, 0),
	ROW(setgroups, IDS, NOTIFY, ANY, 0), ROW(capget, IDS, NOTIFY, ANY, 0), ROW(capset, IDS, NOTIFY, ANY, 0),
	ROW(prctl, BOTH, NOTIFY, OPTION, 0), ROW(umask, BOTH, NOTIFY, ANY, 0), ROW(fchdir, PATHS, NOTIFY, ANY, 0),
	ROW(chroot, PATHS, NOTIFY, ANY, 0), ROW(execve, BOTH, STOP, ANY, 0), ROW(execveat, BOTH, STOP, ANY, 0),
	ROW(chdir, PATHS, STOP, ANY, 0), ROW(bind, PATHS, STOP, ANY, 0), ROW(connect, PATHS, STOP, ANY, 0),
	ROW(uname, PATHS, NOTIFY, ANY, 0), ROW(sendto, PATHS, STOP, ADDRESSED, 4), ROW(inotify_add_watch, PATHS, STOP, ANY, 0),
};
#define ROWS (sizeof rows / sizeof *rows)

/* Forbidden inside, with errors that programs handle. */
static const struct { int nr, error, when; } refused[] = {
	{SYS_io_uring_setup, ENOSYS, BOTH}, {SYS_io_uring_enter, ENOSYS, BOTH}, {SYS_io_uring_register, ENOSYS, BOTH},
	{SYS_clone3, ENOSYS, BOTH}, {SYS_ptrace, EPERM, BOTH}, {SYS_unshare, EPERM, BOTH}, {SYS_setns, EPERM, BOTH},
	{SYS_process_vm_readv, EPERM, BOTH}, {SYS_process_vm_writev, EPERM, BOTH}, {SYS_mount, EPERM, PATHS},
	{SYS_umount2, EPERM, PATHS}, {SYS_pivot_root, EPERM, PATHS}, {SYS_swapon, EPERM, PATHS},
	{SYS_swapoff, EPERM, PATHS}, {SYS_acct, EPERM, PATHS}, {SYS_quotactl, EPERM, PATHS},
	{SYS_fanotify_mark, EPERM, PATHS}, {SYS_name_to_handle_at, EOPNOTSUPP, PATHS},
	{SYS_open_by_handle_at, EPERM, BOTH}, {SYS_bpf, EPERM, BOTH}, {SYS_perf_event_open, EPERM, BOTH},
	{SYS_userfaultfd, EPERM, BOTH}, {SYS_add_key, EPERM, BOTH}, {SYS_request_key, EPERM, BOTH},
	{SYS_keyctl, EPERM, BOTH}, {428 /* open_tree */, ENOSYS, PATHS}, {429 /* move_mount */, ENOSYS, PATHS},
	{430 /* fsopen */, ENOSYS, PATHS}, {433 /* fspick */, ENOSYS, PATHS}, {442 /* mount_setattr */, ENOSYS, PATHS},
	{463 /* setxattrat */, ENOSYS, BOTH}, {464, ENOSYS, BOTH}, {465, ENOSYS, BOTH}, {466, ENOSYS, BOTH},
	{467 /* open_tree_attr */, ENOSYS, PATHS}, {468 /* file_getattr */, ENOSYS, PATHS}, {469, ENOSYS, PATHS},
#ifdef SYS_uselib
	{SYS_uselib, ENOSYS, BOTH},
#endif
};

static int wanted(int when)
{
	return when & ((options.paths ? PATHS : 0) | (options.ids ? IDS : 0));
}

handler handler_of(int nr, bool *stop)
{
	static const struct row *by_number[512];
	if (!by_number[SYS_execve])
		for (size_t n = 0; n < ROWS; n++)
			by_number[rows[n].nr] = &rows[n];
	if (nr < 0 || nr >= 512 || !by_number[nr])
		return NULL;
	if (stop)
		*stop = by_number[nr]->how == STOP;
	return by_number[nr]->call;
}

#define ARG(n) (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n))
static struct sock_filter program[1024];
static unsigned short length;

static void emit(unsigned short code, unsigned char yes, unsigned char no, uint32_t k)
{
	program[length++] = (struct sock_filter){code, yes, no, k};
}

static void give(uint32_t action) { emit(BPF_RET | BPF_K, 0, 0, action); }
static void load(uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
static void skip_unless(uint32_t value, unsigned char n) { emit(BPF_JMP | BPF_JEQ | BPF_K, 0, n, value); }

static void row_filter(const struct row *row)
{
	static const uint32_t prctls[] = {
		PR_SET_DUMPABLE, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_SECUREBITS,
		PR_SET_SECUREBITS, PR_CAP_AMBIENT,
	};
	uint32_t action = row->how == STOP ? SECCOMP_RET_TRACE : SECCOMP_RET_USER_NOTIF;
	unsigned short at = length;
	skip_unless((uint32_t)row->nr, 0);
	if (row->condition == CREATING && options.paths) {
		if (row->nr == SYS_openat) { /* the loader's */
			load(ARG(5));
			skip_unless(PASS, 1);
			give(SECCOMP_RET_ALLOW);
		}
		load(ARG(row->argument));
		emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, 010000000 /* O_PATH */);
		give(SECCOMP_RET_TRACE);
		give(action);
	} else if (row->condition == CREATING) { /* a user other than root may not read everything */
		load(ARG(row->argument));
		give(action);
	} else if (row->condition == ADDRESSED) {
		load(ARG(row->argument));
		skip_unless(0, 1);
		give(SECCOMP_RET_ALLOW);
		give(action);
	} else if (row->condition == OPTION) {
		load(ARG(0));
		for (size_t n = 0; n < sizeof prctls / sizeof *prctls; n++)
			if (options.ids || !n) {
				skip_unless(prctls[n], 1);
				give(action);
			}
		give(SECCOMP_RET_ALLOW);
	} else
		give(action);
	program[at].jf = (unsigned char)(length - at - 1);
}

/* Install the filter for this process and its descendants; return the listener. */
int filter_install(bool *killable)
{
	load(offsetof(struct seccomp_data, arch));
	skip_unless(AUDIT_NATIVE, 1);
	emit(BPF_JMP | BPF_JA, 0, 0, 1);
	give(SECCOMP_RET_ERRNO | ENOSYS);
	load(offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
	emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000);
	give(SECCOMP_RET_ERRNO | ENOSYS);
#endif
	for (size_t n = 0; n < ROWS; n++)
		if (wanted(rows[n].when))
			row_filter(&rows[n]);
	for (size_t n = 0; n < sizeof refused / sizeof *refused; n++)
		if (wanted(refused[n].when)) {
			skip_unless((uint32_t)refused[n].nr, 1);
			give(SECCOMP_RET_ERRNO | (uint32_t)refused[n].error);
		}
	/* New namespaces would have ids of their own. */
	skip_unless(SYS_clone, 4);
	load(ARG(0));
	emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, 0x7e020000);
	give(SECCOMP_RET_ERRNO | EPERM);
	give(SECCOMP_RET_ALLOW);
	if (options.offline)
		for (int family = 0; family < 2; family++) {
			skip_unless(SYS_socket, 4);
			load(ARG(0));
			skip_unless(family ? 10 /* AF_INET6 */ : 2 /* AF_INET */, 1);
			give(SECCOMP_RET_ERRNO | EAFNOSUPPORT);
			load(offsetof(struct seccomp_data, nr));
		}
	/* Auditing of logins needs a capability that we lack; programs do without it where such sockets do not exist. */
	skip_unless(SYS_socket, 7);
	load(ARG(0));
	skip_unless(40 /* AF_VSOCK */, 1);
	give(SECCOMP_RET_ERRNO | EPERM);
	skip_unless(16 /* AF_NETLINK */, 3);
	load(ARG(2));
	skip_unless(9 /* NETLINK_AUDIT */, 1);
	give(SECCOMP_RET_ERRNO | EPROTONOSUPPORT);
	give(SECCOMP_RET_ALLOW);

	struct sock_fprog all = {length, program};
	*killable = true;
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | 1UL << 5, &all);
	if (fd < 0 && errno == EINVAL) {
		*killable = false;
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &all);
	}
	return fd < 0 ? -errno : (int)fd;
}
