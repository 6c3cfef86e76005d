/* Declarations that the parts of the tracer share. main.c says what it is. */
#ifndef TRACER_H
#define TRACER_H
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "arch.h"

#define ROOM (2 * PATH_MAX) /* of a path that is being built */

/* Options. */

extern struct options {
	bool paths; /* --root: paths are translated */
	bool ids; /* --ids */
	bool cow; /* --cow */
	bool verbose;
	bool births; /* the file system records when an inode was made */
	uid_t uid; /* with which the first process starts */
	gid_t gid;
	bool offline; /* --network none */
	const char *owners, *changes, *hostname;
	int begun; /* --begun: a pipe that is closed when the first process begins, or that gets the reason why not; -1: none */
	int lost; /* --lost: the exit code when there is no such working directory; BuildKit's is 1 */
	int work; /* --work: a directory for unfinished files; -1: beside their final place */
	int spare; /* --spare: the directory of a file that takes room, which goes where the tables need it; -1: none */
	const char *spare_name;
} options;
extern uid_t my_uid;
extern gid_t my_gid;
extern int my_pid;
extern const char *proc; /* the prefix of processes' names: "/proc/", or "" where that is the working directory */
extern int root_fd; /* the root of the processes, where that is not translated but we stand outside of it */
extern dev_t proc_dev; /* of their /proc, in which owners are the kernel's */

/* The process that is traced first. */

struct rlimit;
bool child_send(int channel, int fd);
int child_receive(int channel);
_Noreturn void child_run(int channel, const char *cwd, char **command, struct rlimit *limit);
int child_probe(void);

/* Processes that are to be traced beside the first. */

struct task;
bool door_open(int fd, struct task *first);
void door_next(bool over);

/* Processes. */

struct text { /* a string with several holders */
	int refs;
	char s[];
};
struct text *text_new(const char *s);
struct text *text_hold(struct text *t);
void text_drop(struct text *t);

struct fs { /* what threads share of the file system, as CLONE_FS */
	int refs;
	unsigned umask, generation;
	struct text *cwd; /* guest's path; NULL: ask /proc */
	struct text *root; /* guest's path of its chroot, "" for none */
};

struct groups {
	int refs, count;
	gid_t ids[];
};

struct creds {
	uid_t uid, euid, suid, fsuid;
	gid_t gid, egid, sgid, fsgid;
	uint64_t permitted, effective, inheritable, bounding;
	bool keep; /* PR_SET_KEEPCAPS */
	struct groups *groups;
};

enum pending { NONE, EXEC, CHDIR, RESTORE };

struct task { /* a thread */
	pid_t tid, tgid;
	bool running; /* not held in its first stop */
	bool known; /* its parent has reported it */
	enum pending pending; /* what its next stop means */
	regs_t saved;
	int held; /* a descriptor of ours that the call names */
	struct text *path; /* new cwd or program of a pending call */
	struct creds next_creds;
	void *order; /* for the loader, of a pending execve */
	size_t order_size;
	struct fs *fs;
	struct creds creds;
	struct text *exe; /* guest's path of the program */
	struct task *next;
};
struct task *task_find(pid_t tid);
struct task *task_new(pid_t tid);
struct task *task_like(uid_t uid, gid_t gid, const char *groups, unsigned umask);
void task_free(struct task *t);
int task_trace(pid_t pid, int channel, int directory, struct task *as);
void task_inherit(struct task *child, struct task *parent, bool thread);
void task_forget(struct task *t);
void task_follow_exec(struct task *t, pid_t former);
void tasks_kill(void);
int tasks_count(void);
void creds_copy(struct creds *to, const struct creds *from);
bool creds_in_group(const struct creds *c, gid_t gid);

/* A call. */

enum action { DONE, GO, DESCRIPTOR, CHANGED, LATER };

struct call {
	struct task *t;
	int nr;
	uint64_t a[6];
	/* DONE: `result` is the answer; GO: the kernel does it; DESCRIPTOR: `result` is given to the process;
	 * CHANGED: the registers were changed; LATER: another thread answers. */
	enum action action;
	bool cloexec;
	regs_t *regs; /* in a ptrace stop only */
	int listener; /* that reported it, in a notification */
	uint64_t id; /* of that */
};
typedef long (*handler)(struct call *);
handler handler_of(int nr, bool *stop);
int filter_install(bool *killable);
bool notify_start(int listener);
void lock(void);
void unlock(void);

long mem_read(pid_t tid, void *to, uint64_t from, size_t n);
long mem_write(pid_t tid, uint64_t to, const void *from, size_t n);
long mem_string(pid_t tid, char *to, uint64_t from, size_t room);

/* Paths. */

struct mount {
	char *dst; /* guest's path; "" for the root */
	size_t dst_len;
	char *src; /* host's path */
	size_t src_len;
	int fd; /* O_PATH */
	bool readonly, file, proc, cached;
};

struct where { /* a file: what *at calls take */
	int fd;
	const char *rel;
	int nofollow; /* AT_SYMLINK_NOFOLLOW unless `rel` is a magic link that names the file itself */
	bool readonly, slash;
	struct mount *mount; /* NULL for an open file, or without translation */
	char g[ROOM]; /* guest's path, when there is a mount */
	char buffer[64 + PATH_MAX];
	int close; /* a descriptor to close afterwards, or -1 */
};

enum { FOLLOW = 1, EMPTY = 2, NULL_OK = 4, NO_LINKS = 8 };

int mounts_add(const char *dst, const char *src, bool readonly);
int mounts_ready(void);
struct mount *mount_of(const char *g, size_t len);
int mount_make(const char *dst, const char *src, bool readonly);
int path_make(const char *path, bool directory, bool told, bool own, struct where *w);
uint64_t hash_of(const char *s, size_t n);
int mounts_root(void);
void paths_changed(const char *g, bool maybe_directory);
int path_walk(struct task *t, const char *base, const char *path, int flags, struct where *w);
int path_at(struct call *c, int dirfd, uint64_t pointer, int flags, struct where *w);
int path_at_string(struct call *c, int dirfd, const char *path, int flags, struct where *w);
int path_fd(struct call *c, int fd, struct where *w);
int path_cwd(struct task *t, char *g);
bool path_to_guest(const char *host, char *g);
void path_host(const struct where *w, char *host, size_t room);
void where_done(struct where *w);
int where_parent(const struct where *w, struct stat *st);
void where_keep_times(const struct where *w, const struct stat *before);
void path_magic(struct where *w);

/* Owners. */

#define NO_MODE 0xffffffffU

struct xattr {
	struct xattr *next;
	uint32_t size;
	char *name;
	unsigned char value[];
};

struct owner { /* what a file is shown with */
	uint64_t dev, ino, btime;
	uint32_t uid, gid;
	uint32_t mode; /* with the type; NO_MODE: that of the disk */
	uint64_t rdev;
	uint32_t names; /* that the image has for the file; 0: one */
	struct xattr *xattrs;
	bool live;
};
int owners_load(const char *file);
int owners_save(const char *file, int upper);
struct owner *owner_find(const struct stat *st, const struct where *w);
struct owner *owner_make(const struct stat *st, const struct where *w);
void owner_copy(const struct stat *from, const struct stat *to, const struct where *w);
void owner_forget(const struct stat *st);
void owner_show(struct stat *st, const struct where *w);
uint64_t birth_of(const struct where *w);
struct table *table_open(const char *file, int *bad);
void table_apply(const struct table *t, const char *path, struct where *w);

/* Layers, copy on write, and changes. */

int lower_add(const char *directory);
void lower_ready(void);
void lower_fill(const char *g, size_t len);
bool lower_waits(const char *g);
bool lower_shows(const char *g);
void lower_gone(const char *g);
int lower_failed(void);
void lower_fails(int bad);
int lazy_add(int fd, const char *directory);
int lazy_need(const struct stat *st);
int lazy_names(int fd, const char *path);
void lazy_show_directory(int fd, const char *path, struct stat *st);
void lazy_show(struct stat *st);
int cow_break(struct where *w, const struct stat *st, bool empty);
bool cow_shared(const struct stat *st, const struct where *w);
bool cow_lost(struct stat *st, struct where *w);
void cow_own(const struct stat *st);
int copy_data(int from, int to, off_t size);
void copy_xattrs(int from, int to);
void touched(const struct where *w);
void touched_anew(const struct where *w);
int touched_save(const char *file);

/* Rights. */

static inline bool is_root(const struct task *t)
{
	return !options.ids || t->creds.fsuid == 0;
}
int may(const struct task *t, const struct stat *shown, int mask);
int may_change_entry(struct call *c, struct where *w, const struct stat *victim);
int make_accessible(struct where *w);
void created(struct call *c, struct where *w, unsigned wanted);
bool busy(const struct where *w);
int look(struct where *w, struct stat *st);
int look_shown(struct where *w, struct stat *st);
int emulate_exec(struct call *c, struct creds *next, const struct stat *shown);
long exec_begin(struct call *c);
void exec_done(struct task *t);
int loader_open(void);
#endif
