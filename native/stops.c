/* Calls that the process makes itself, with another path: working directories, sockets, watches. */
#include <fcntl.h>
#include <stddef.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "calls.h"

/* Put `data` below the process's stack and make argument `n` point to it. Only little room is certain there (Go's
 * stacks). */
static int substitute(struct call *c, int n, const void *data, size_t size)
{
	uint64_t at = (REG_SP(c->regs) - 128 - size - 16) & ~15UL;
	if (mem_write(c->t->tid, at, data, size))
		return -EFAULT;
	c->t->saved = *c->regs;
	*reg_arg(c->regs, n) = at;
	c->t->pending = RESTORE;
	c->action = CHANGED;
	return 0;
}

/* A short name for a file, through a descriptor of ours. */
static int hold(struct call *c, struct where *w, char *name, size_t room)
{
	int fd = openat(w->fd, w->rel, O_PATH | O_CLOEXEC | (w->nofollow ? O_NOFOLLOW : 0));
	if (fd < 0 && errno == EACCES && make_accessible(w))
		fd = openat(w->fd, w->rel, O_PATH | O_CLOEXEC | (w->nofollow ? O_NOFOLLOW : 0));
	if (fd < 0)
		return -errno;
	if (c->t->held >= 0)
		close(c->t->held);
	c->t->held = fd;
	snprintf(name, room, "/proc/%d/fd/%d", my_pid, fd);
	return 0;
}

long do_chdir(struct call *c)
{
	struct where w;
	struct stat st;
	char name[64];
	int bad = path_at(c, AT_FDCWD, c->a[0], FOLLOW, &w);
	if (!bad)
		bad = look_shown(&w, &st);
	if (!bad && !S_ISDIR(st.st_mode))
		bad = -ENOTDIR;
	if (!bad && (!w.mount || !w.mount->proc))
		bad = may(c->t, &st, 1);
	if (!bad)
		bad = hold(c, &w, name, sizeof name);
	if (!bad)
		bad = substitute(c, 0, name, strlen(name) + 1);
	if (!bad) {
		text_drop(c->t->path);
		c->t->path = w.nofollow ? text_new(w.g) : NULL;
		c->t->pending = CHDIR;
	}
	where_done(&w);
	return bad;
}

/* O_PATH: the kernel does not let us hand such a descriptor over. */
long open_path(struct call *c, int dirfd, int path, int flags)
{
	struct where w;
	char name[64];
	int bad = path_at(c, dirfd, c->a[path], flags & O_NOFOLLOW ? 0 : FOLLOW, &w);
	if (!bad)
		bad = hold(c, &w, name, sizeof name);
	if (!bad)
		bad = substitute(c, path, name, strlen(name) + 1);
	if (!bad)
		*reg_arg(c->regs, path + 1) = (unsigned)(flags & ~O_NOFOLLOW);
	where_done(&w);
	return bad;
}

long do_fchdir(struct call *c)
{
	text_drop(c->t->fs->cwd);
	c->t->fs->cwd = NULL;
	c->action = GO;
	return 0;
}

long do_chroot(struct call *c)
{
	struct where w;
	struct stat st;
	int bad = path_at(c, AT_FDCWD, c->a[0], FOLLOW, &w);
	if (!bad)
		bad = look_shown(&w, &st);
	if (!bad && !S_ISDIR(st.st_mode))
		bad = -ENOTDIR;
	if (!bad && !has_capability(c->t, 18 /* CAP_SYS_CHROOT */))
		bad = -EPERM;
	if (!bad && !w.mount)
		bad = -EACCES;
	if (!bad) {
		text_drop(c->t->fs->root);
		c->t->fs->root = text_new(w.g);
	}
	where_done(&w);
	return bad;
}

/* Names of Unix sockets are at most 108 bytes; through a descriptor any path fits. */
static long address(struct call *c, int pointer, int length, bool making)
{
	struct sockaddr_un un = {0};
	char path[sizeof un.sun_path + 1] = "", name[96];
	size_t size = c->a[length];
	struct where w;
	struct stat st;
	size_t start = offsetof(struct sockaddr_un, sun_path);
	if (size <= start || size > sizeof un || mem_read(c->t->tid, &un, c->a[pointer], size) ||
	    un.sun_family != AF_UNIX || !un.sun_path[0]) {
		c->action = GO;
		return 0;
	}
	memcpy(path, un.sun_path, size - start);
	int bad = path_at_string(c, AT_FDCWD, path, making ? 0 : FOLLOW, &w);
	if (bad)
		return bad;
	if (making) {
		/* Name the directory by a descriptor, and the file in it. */
		char *last = strrchr(w.g, '/');
		if (!last || look(&w, &st) == 0)
			bad = -EADDRINUSE;
		else if (w.readonly)
			bad = -EROFS;
		else
			bad = may_change_entry(c, &w, NULL);
		if (!bad) {
			char base[256];
			struct where parent;
			snprintf(base, sizeof base, "%s", last + 1);
			*last = 0;
			bad = path_walk(c->t, w.g, ".", 0, &parent);
			if (!bad)
				bad = hold(c, &parent, name, sizeof name);
			if (!bad && strlen(name) + strlen(base) + 1 >= sizeof un.sun_path)
				bad = -ENAMETOOLONG;
			memset(un.sun_path, 0, sizeof un.sun_path);
			if (!bad)
				sprintf(un.sun_path, "%s/%s", name, base);
		}
	} else {
		bad = look_shown(&w, &st);
		if (!bad && w.mount && !w.mount->proc)
			bad = may(c->t, &st, 2);
		if (!bad)
			bad = hold(c, &w, name, sizeof name);
		memset(un.sun_path, 0, sizeof un.sun_path);
		if (!bad)
			strcpy(un.sun_path, name);
	}
	where_done(&w);
	size = start + strlen(un.sun_path) + 1;
	if (!bad)
		bad = substitute(c, pointer, &un, size);
	if (!bad)
		*reg_arg(c->regs, length) = size;
	return bad;
}

long do_bind(struct call *c) { return address(c, 1, 2, true); }
long do_connect(struct call *c) { return address(c, 1, 2, false); }
long do_sendto(struct call *c) { return address(c, 4, 5, false); }

long do_inotify_add_watch(struct call *c)
{
	struct where w;
	char name[64];
	int bad = path_at(c, AT_FDCWD, c->a[1], c->a[2] & IN_DONT_FOLLOW ? 0 : FOLLOW, &w);
	if (!bad)
		bad = hold(c, &w, name, sizeof name);
	if (!bad)
		bad = substitute(c, 1, name, strlen(name) + 1);
	if (!bad)
		*reg_arg(c->regs, 2) = c->a[2] & ~(uint64_t)IN_DONT_FOLLOW;
	where_done(&w);
	return bad;
}
