/* The answers to calls that change owners, modes, times, sizes and extended attributes. */
#include <fcntl.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#include "calls.h"

static bool owns(const struct task *t, const struct stat *shown)
{
	return is_root(t) || shown->st_uid == t->creds.fsuid;
}

static int own_inode(struct where *w, struct stat *st);

/* Look up a file that is about to change, and give it an inode of its own. */
static int prepare(struct where *w, struct stat *st, struct stat *shown)
{
	int bad = TRY(w, fstatat(w->fd, w->rel, st, w->nofollow));
	if (bad)
		return bad;
	if (!w->nofollow)
		path_magic(w);
	if (cow_lost(st, w))
		return -EPERM;
	if (w->readonly && !(S_ISCHR(st->st_mode) || S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode)))
		return -EROFS;
	*shown = *st;
	owner_show(shown, w);
	return 0;
}

int own_name(struct where *w, struct stat *st)
{
	return options.paths || !options.ids || S_ISDIR(st->st_mode) || st->st_nlink < 2 ? 0 : own_inode(w, st);
}

static int own_inode(struct where *w, struct stat *st)
{
	touched(w);
	if (!options.paths && options.ids) {
		/* Even a change to the same value makes overlayfs copy the file up; one with several names gets an inode of
		 * its own. */
		struct stat before = *st;
		if ((S_ISLNK(st->st_mode) ? fchownat(w->fd, w->rel, my_uid, (gid_t)-1, w->nofollow)
					  : fchmodat(w->fd, w->rel, st->st_mode & 07777, 0)) ||
		    look(w, st))
			return -errno;
		if (st->st_ino != before.st_ino)
			owner_copy(&before, st, w);
		return 0;
	}
	if (!cow_shared(st, w))
		return 0;
	int bad = cow_break(w, st, false);
	return bad ? bad : look(w, st);
}

/* Chmod, chown. */

static int change_mode(struct call *c, struct where *w, unsigned mode)
{
	struct stat st, shown;
	int bad = prepare(w, &st, &shown);
	if (bad)
		return bad;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	if (!owns(c->t, &shown))
		return -EPERM;
	mode = (mode & 07777) | (shown.st_mode & S_IFMT);
	if (!is_root(c->t) && mode & S_ISGID && !creds_in_group(&c->t->creds, shown.st_gid))
		mode &= ~(unsigned)S_ISGID;
	if ((bad = own_inode(w, &st)))
		return bad;
	struct owner *o = owner_find(&st, w);
	bool stand_in = options.ids && (shown.st_mode & S_IFMT) != (st.st_mode & S_IFMT);
	unsigned real = stand_in ? 0600 : real_mode(mode);
	if (options.ids && (o || real != (mode & 07777))) {
		o = owner_make(&st, w);
		if (!o)
			return -ENOMEM;
		o->mode = mode;
	}
	if (real == (st.st_mode & 07777) && options.ids && o)
		return 0;
	return TRY(w, fchmodat(w->fd, w->rel, real, 0));
}

static long chmod_at(struct call *c, int dirfd, uint64_t pointer, unsigned mode, int walk)
{
	struct where w;
	int bad = path_at(c, dirfd, pointer, walk, &w);
	if (!bad)
		bad = change_mode(c, &w, mode);
	where_done(&w);
	return bad;
}

long do_chmod(struct call *c) { return chmod_at(c, AT_FDCWD, c->a[0], (unsigned)c->a[1], FOLLOW); }
long do_fchmodat(struct call *c) { return chmod_at(c, (int)c->a[0], c->a[1], (unsigned)c->a[2], FOLLOW); }
long do_fchmod(struct call *c) { return chmod_at(c, (int)c->a[0], 0, (unsigned)c->a[1], NULL_OK); }
long do_fchmodat2(struct call *c)
{
	int walk = ((int)c->a[3] & AT_EMPTY_PATH ? EMPTY : 0) | ((int)c->a[3] & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOW);
	return chmod_at(c, (int)c->a[0], c->a[1], (unsigned)c->a[2], walk);
}

static int change_owner(struct call *c, struct where *w, uid_t uid, gid_t gid)
{
	struct stat st, shown;
	int bad = prepare(w, &st, &shown);
	if (bad)
		return bad;
	if (!options.ids) {
		if ((bad = own_inode(w, &st)))
			return bad;
		return TRY(w, fchownat(w->fd, w->rel, uid, gid, w->nofollow));
	}
	if (!has_capability(c->t, 0 /* CAP_CHOWN */)) {
		bool mine = shown.st_uid == c->t->creds.fsuid;
		if ((uid != (uid_t)-1 && !(mine && uid == shown.st_uid)) ||
		    (gid != (gid_t)-1 && !(mine && (gid == shown.st_gid || creds_in_group(&c->t->creds, gid)))))
			return -EPERM;
	}
	unsigned mode = shown.st_mode;
	if (S_ISREG(mode)) {
		mode &= ~(unsigned)S_ISUID;
		if (mode & S_IXGRP)
			mode &= ~(unsigned)S_ISGID;
	}
	if (options.paths && mode == shown.st_mode && (uid == (uid_t)-1 || uid == shown.st_uid) && (gid == (gid_t)-1 || gid == shown.st_gid))
		return 0;
	if ((bad = own_inode(w, &st)))
		return bad;
	struct owner *o = owner_make(&st, w);
	if (!o)
		return -ENOMEM;
	if (uid != (uid_t)-1)
		o->uid = uid;
	if (gid != (gid_t)-1)
		o->gid = gid;
	if (mode != shown.st_mode) {
		if (o->mode != NO_MODE)
			o->mode = mode;
		bad = TRY(w, fchmodat(w->fd, w->rel, real_mode(mode), 0));
	}
	/* A change of owner removes a file's capabilities. */
	for (struct xattr **x = &o->xattrs; *x;)
		if (!strcmp((*x)->name, "security.capability")) {
			struct xattr *gone = *x;
			*x = gone->next;
			free(gone->name);
			free(gone);
		} else
			x = &(*x)->next;
	return bad;
}

static long chown_at(struct call *c, int dirfd, uint64_t pointer, uint64_t uid, uint64_t gid, int walk)
{
	struct where w;
	int bad = path_at(c, dirfd, pointer, walk, &w);
	if (!bad)
		bad = change_owner(c, &w, (uid_t)uid, (gid_t)gid);
	where_done(&w);
	return bad;
}

long do_chown(struct call *c) { return chown_at(c, AT_FDCWD, c->a[0], c->a[1], c->a[2], FOLLOW); }
long do_lchown(struct call *c) { return chown_at(c, AT_FDCWD, c->a[0], c->a[1], c->a[2], 0); }
long do_fchown(struct call *c) { return chown_at(c, (int)c->a[0], 0, c->a[1], c->a[2], NULL_OK); }
long do_fchownat(struct call *c)
{
	int walk = ((int)c->a[4] & AT_EMPTY_PATH ? EMPTY : 0) | ((int)c->a[4] & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOW);
	return chown_at(c, (int)c->a[0], c->a[1], c->a[2], c->a[3], walk);
}

/* Times and sizes. */

static long times_at(struct call *c, int dirfd, uint64_t pointer, const struct timespec *times, int walk)
{
	struct where w;
	struct stat st, shown;
	int bad = path_at(c, dirfd, pointer, walk, &w);
	if (bad)
		return bad;
	bad = prepare(&w, &st, &shown);
	if (!bad && !owns(c->t, &shown)) {
		bool now = !times || (times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW);
		bad = now ? may(c->t, &shown, 2) : -EPERM;
	}
	if (!bad)
		bad = own_inode(&w, &st);
	if (!bad)
		bad = TRY(&w, utimensat(w.fd, w.rel, times, w.nofollow));
	where_done(&w);
	return bad;
}

long do_utimensat(struct call *c)
{
	struct timespec times[2];
	int flags = (int)c->a[3], walk = flags & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOW;
	if (c->a[2] && mem_read(c->t->tid, times, c->a[2], sizeof times) < 0)
		return -EFAULT;
	walk |= NULL_OK | (flags & AT_EMPTY_PATH ? EMPTY : 0);
	return times_at(c, (int)c->a[0], c->a[1], c->a[2] ? times : NULL, walk);
}

static long times_of(struct call *c, int dirfd, uint64_t pointer, uint64_t from)
{
	struct timeval old[2];
	struct timespec times[2];
	if (from && mem_read(c->t->tid, old, from, sizeof old) < 0)
		return -EFAULT;
	for (int n = 0; from && n < 2; n++)
		times[n] = (struct timespec){old[n].tv_sec, old[n].tv_usec * 1000};
	return times_at(c, dirfd, pointer, from ? times : NULL, FOLLOW);
}

long do_utimes(struct call *c) { return times_of(c, AT_FDCWD, c->a[0], c->a[1]); }
long do_futimesat(struct call *c) { return times_of(c, (int)c->a[0], c->a[1], c->a[2]); }

long do_utime(struct call *c)
{
	struct utimbuf old;
	struct timespec times[2];
	if (c->a[1] && mem_read(c->t->tid, &old, c->a[1], sizeof old) < 0)
		return -EFAULT;
	if (c->a[1])
		times[0] = (struct timespec){old.actime, 0}, times[1] = (struct timespec){old.modtime, 0};
	return times_at(c, AT_FDCWD, c->a[0], c->a[1] ? times : NULL, FOLLOW);
}

long do_truncate(struct call *c)
{
	struct where w;
	struct stat st, shown;
	int bad = path_at(c, AT_FDCWD, c->a[0], FOLLOW, &w);
	if (bad)
		return bad;
	bad = prepare(&w, &st, &shown);
	if (!bad)
		bad = S_ISDIR(st.st_mode) ? -EISDIR : S_ISREG(st.st_mode) ? may(c->t, &shown, 2) : -EINVAL;
	if (!bad)
		bad = own_inode(&w, &st);
	if (!bad) {
		int fd = openat(w.fd, w.rel, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno == EACCES && make_accessible(&w))
			fd = openat(w.fd, w.rel, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || ftruncate(fd, (off_t)c->a[1]))
			bad = -errno;
		if (fd >= 0)
			close(fd);
	}
	where_done(&w);
	return bad;
}

/* Extended attributes. */

enum verb { SET, GET, LIST, REMOVE };
#define VALUE 65536

static bool remembered(const char *name)
{
	return options.ids && (!strncmp(name, "security.", 9) || !strncmp(name, "trusted.", 8));
}

static long remembered_xattr(struct call *c, struct where *w, struct stat *st, enum verb verb, const char *name,
			     char *value, size_t size, int flags)
{
	struct owner *o = owner_find(st, w);
	struct xattr **at = o ? &o->xattrs : NULL;
	while (at && *at && strcmp((*at)->name, name))
		at = &(*at)->next;
	struct xattr *found = at ? *at : NULL;
	if (verb == GET) {
		if (!found)
			return -ENODATA;
		if (!size)
			return found->size;
		if (size < found->size)
			return -ERANGE;
		memcpy(value, found->value, found->size);
		return found->size;
	}
	if (!has_capability(c->t, strncmp(name, "security.capability", 19) ? 21 /* SYS_ADMIN */ : 31 /* SETFCAP */))
		return -EPERM;
	if (verb == REMOVE) {
		if (!found)
			return -ENODATA;
	} else if ((flags & XATTR_CREATE && found) || (flags & XATTR_REPLACE && !found))
		return found ? -EEXIST : -ENODATA;
	int bad = own_inode(w, st);
	if (bad)
		return bad;
	o = owner_make(st, w);
	if (!o)
		return -ENOMEM;
	at = &o->xattrs;
	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	if ((found = *at)) {
		*at = found->next;
		free(found->name);
		free(found);
	}
	if (verb == REMOVE)
		return 0;
	struct xattr *x = malloc(sizeof *x + size);
	if (!x)
		return -ENOMEM;
	x->name = strdup(name);
	x->size = (uint32_t)size;
	memcpy(x->value, value, size);
	x->next = o->xattrs;
	o->xattrs = x;
	return 0;
}

static long list_xattrs(struct where *w, struct stat *st, const char *path, char *value, size_t size)
{
	static char all[2 * VALUE];
	ssize_t n = listxattr(path, all, VALUE);
	if (n < 0)
		return -errno;
	size_t have = 0;
	char *out = all;
	for (char *name = all, *next; name < all + n; name = next) {
		next = name + strlen(name) + 1;
		if (remembered(name))
			continue;
		memmove(out, name, (size_t)(next - name));
		out += next - name;
	}
	have = (size_t)(out - all);
	struct owner *o = options.ids ? owner_find(st, w) : NULL;
	for (struct xattr *x = o ? o->xattrs : NULL; x && have + strlen(x->name) < VALUE; x = x->next) {
		strcpy(all + have, x->name);
		have += strlen(x->name) + 1;
	}
	if (size && have > size)
		return -ERANGE;
	if (size)
		memcpy(value, all, have);
	return (long)have;
}

/* Setting an access control list has changed the mode on the disk. */
static void mode_from_acl(struct where *w)
{
	struct stat st;
	if (look(w, &st))
		return;
	struct owner *o = owner_find(&st, w);
	unsigned mode = (o && o->mode != NO_MODE ? o->mode & ~0777U : st.st_mode & ~0777U) | (st.st_mode & 0777);
	if (real_mode(mode) == (mode & 07777) && !(o && o->mode != NO_MODE))
		return;
	if ((o = owner_make(&st, w)))
		o->mode = mode;
	fchmodat(w->fd, w->rel, real_mode(mode), 0);
}

static long xattr(struct call *c, enum verb verb, int walk, bool open_file)
{
	static char value[VALUE];
	char name[256] = "";
	struct where w;
	struct stat st, shown;
	size_t size = verb == REMOVE ? 0 : verb == LIST ? c->a[2] : c->a[3];
	uint64_t pointer = verb == LIST ? c->a[1] : c->a[2];
	if (verb != LIST) {
		long n = mem_string(c->t->tid, name, c->a[1], sizeof name);
		if (n < 0)
			return n == -ENAMETOOLONG ? -ERANGE : n;
	}
	if (size > VALUE) {
		if (verb == SET)
			return -E2BIG;
		size = VALUE;
	}
	if (verb == SET && size && mem_read(c->t->tid, value, pointer, size) < 0)
		return -EFAULT;
	long bad = open_file ? path_fd(c, (int)c->a[0], &w) : path_at(c, AT_FDCWD, c->a[0], walk, &w);
	if (bad)
		return bad;
	bad = verb == SET || verb == REMOVE ? prepare(&w, &st, &shown) : look(&w, &st);
	if (bad)
		goto out;
	if (verb != LIST && remembered(name)) {
		bad = remembered_xattr(c, &w, &st, verb, name, value, size, (int)c->a[4]);
	} else {
		if (verb == SET || verb == REMOVE) {
			if (!owns(c->t, &shown))
				bad = -EPERM;
			else
				bad = own_inode(&w, &st);
			if (bad)
				goto out;
		}
		char path[64];
		int fd = openat(w.fd, w.rel, O_PATH | O_CLOEXEC | (w.nofollow ? O_NOFOLLOW : 0));
		if (fd < 0) {
			bad = -errno;
			goto out;
		}
		snprintf(path, sizeof path, "%sself/fd/%d", proc, fd);
		switch (verb) {
		case SET:
			bad = setxattr(path, name, value, size, (int)c->a[4]) ? -errno : 0;
			if (!bad && options.ids && !strcmp(name, "system.posix_acl_access"))
				mode_from_acl(&w);
			break;
		case GET: bad = getxattr(path, name, value, size); break;
		case REMOVE: bad = removexattr(path, name) ? -errno : 0; break;
		case LIST: bad = list_xattrs(&w, &st, path, value, size); break;
		}
		if (verb == GET && bad < 0)
			bad = -errno;
		close(fd);
	}
	if ((verb == GET || verb == LIST) && bad > 0 && size && mem_write(c->t->tid, pointer, value, (size_t)bad) < 0)
		bad = -EFAULT;
out:
	where_done(&w);
	return bad;
}

long do_setxattr(struct call *c) { return xattr(c, SET, FOLLOW, false); }
long do_lsetxattr(struct call *c) { return xattr(c, SET, 0, false); }
long do_fsetxattr(struct call *c) { return xattr(c, SET, 0, true); }
long do_getxattr(struct call *c) { return xattr(c, GET, FOLLOW, false); }
long do_lgetxattr(struct call *c) { return xattr(c, GET, 0, false); }
long do_fgetxattr(struct call *c) { return xattr(c, GET, 0, true); }
long do_listxattr(struct call *c) { return xattr(c, LIST, FOLLOW, false); }
long do_llistxattr(struct call *c) { return xattr(c, LIST, 0, false); }
long do_flistxattr(struct call *c) { return xattr(c, LIST, 0, true); }
long do_removexattr(struct call *c) { return xattr(c, REMOVE, FOLLOW, false); }
long do_lremovexattr(struct call *c) { return xattr(c, REMOVE, 0, false); }
long do_fremovexattr(struct call *c) { return xattr(c, REMOVE, 0, true); }
