/* The answers to calls that create, move and remove names. */
#include <fcntl.h>

#include "calls.h"

static long mkdir_at(struct call *c, int dirfd, uint64_t pointer, unsigned mode)
{
	struct where w;
	struct stat st;
	int bad = path_at(c, dirfd, pointer, 0, &w);
	if (!bad && !look(&w, &st))
		bad = -EEXIST;
	else if (!bad && w.readonly)
		bad = -EROFS;
	if (!bad)
		bad = may_change_entry(c, &w, NULL);
	if (!bad) {
		mode = (mode & 01777 & ~c->t->fs->umask) | S_IFDIR;
		bad = TRY(&w, mkdirat(w.fd, w.rel, real_mode(mode)));
	}
	if (!bad) {
		paths_changed(w.g, false);
		created(c, &w, mode);
		touched_anew(&w);
	}
	where_done(&w);
	return bad;
}

long do_mkdir(struct call *c) { return mkdir_at(c, AT_FDCWD, c->a[0], (unsigned)c->a[1]); }
long do_mkdirat(struct call *c) { return mkdir_at(c, (int)c->a[0], c->a[1], (unsigned)c->a[2]); }

static long unlink_at(struct call *c, int dirfd, uint64_t pointer, int flags)
{
	struct where w;
	struct stat st, shown;
	int bad = path_at(c, dirfd, pointer, 0, &w);
	if (!bad)
		bad = TRY(&w, fstatat(w.fd, w.rel, &st, w.nofollow));
	if (!bad && w.readonly)
		bad = -EROFS;
	if (!bad && busy(&w))
		bad = -EBUSY;
	if (!bad) {
		shown = st;
		owner_show(&shown, NULL);
		bad = may_change_entry(c, &w, &shown);
	}
	if (!bad && flags & AT_REMOVEDIR)
		lower_fill(w.g, strlen(w.g));
	if (!bad)
		bad = TRY(&w, unlinkat(w.fd, w.rel, flags & AT_REMOVEDIR));
	if (!bad) {
		if (S_ISDIR(st.st_mode))
			lower_gone(w.g);
		if (st.st_nlink == 1 || S_ISDIR(st.st_mode))
			owner_forget(&st);
		paths_changed(w.g, false);
		touched(&w);
	}
	where_done(&w);
	return bad;
}

long do_unlink(struct call *c) { return unlink_at(c, AT_FDCWD, c->a[0], 0); }
long do_rmdir(struct call *c) { return unlink_at(c, AT_FDCWD, c->a[0], AT_REMOVEDIR); }
long do_unlinkat(struct call *c) { return unlink_at(c, (int)c->a[0], c->a[1], (int)c->a[2]); }

static long rename_at(struct call *c, int from_fd, uint64_t from, int to_fd, uint64_t to, unsigned flags)
{
	struct where w, v;
	struct stat st, victim, shown;
	bool replaced = false;
	int bad = path_at(c, from_fd, from, 0, &w);
	if (bad)
		return bad;
	bad = path_at(c, to_fd, to, 0, &v);
	if (!bad)
		bad = TRY(&w, fstatat(w.fd, w.rel, &st, w.nofollow));
	if (!bad && (busy(&w) || busy(&v)))
		bad = -EBUSY;
	if (!bad && w.mount != v.mount)
		bad = -EXDEV;
	if (!bad && (w.readonly || v.readonly))
		bad = -EROFS;
	if (!bad) {
		replaced = !look(&v, &victim);
		shown = st;
		owner_show(&shown, NULL);
		bad = may_change_entry(c, &w, &shown);
	}
	if (!bad) {
		shown = victim;
		if (replaced)
			owner_show(&shown, NULL);
		bad = may_change_entry(c, &v, replaced ? &shown : NULL);
	}
	/* As with overlayfs under BuildKit, a layer's directory cannot be moved, and a layer's file moves without its
	 * links. */
	if (!bad && ((S_ISDIR(st.st_mode) && lower_shows(w.g)) ||
		     (replaced && flags & 2 && S_ISDIR(victim.st_mode) && lower_shows(v.g))))
		bad = -EXDEV;
	if (!bad && cow_shared(&st, &w) && (shown = st, owner_show(&shown, &w), shown.st_nlink > 1)) {
		bad = cow_break(&w, &st, false);
		if (!bad)
			bad = look(&w, &st);
	}
	if (!bad)
		bad = lazy_need(&st); /* the changes are read from there */
	if (!bad && replaced && flags & 2)
		bad = lazy_need(&victim);
	if (!bad)
		bad = own_name(&w, &st);
	if (!bad && replaced && S_ISDIR(victim.st_mode))
		lower_fill(v.g, strlen(v.g));
	if (!bad) {
		bad = TRY(&w, (int)syscall(SYS_renameat2, w.fd, w.rel, v.fd, v.rel, flags));
		if (bad == -EACCES && make_accessible(&v))
			bad = TRY(&w, (int)syscall(SYS_renameat2, w.fd, w.rel, v.fd, v.rel, flags));
	}
	if (!bad) {
		bool same = replaced && victim.st_ino == st.st_ino && victim.st_dev == st.st_dev;
		if (replaced && !same && !(flags & 2 /* exchange */) && (victim.st_nlink == 1 || S_ISDIR(victim.st_mode)))
			owner_forget(&victim);
		bool directory = S_ISDIR(st.st_mode) || (replaced && S_ISDIR(victim.st_mode));
		paths_changed(w.g, directory);
		paths_changed(v.g, false);
		if (replaced && S_ISDIR(victim.st_mode)) {
			lower_gone(v.g);
			touched_anew(flags & 2 ? &w : &v);
		}
		if (S_ISDIR(st.st_mode))
			touched_anew(&v);
		touched(&w);
		touched(&v);
	}
	where_done(&w);
	where_done(&v);
	return bad;
}

long do_rename(struct call *c) { return rename_at(c, AT_FDCWD, c->a[0], AT_FDCWD, c->a[1], 0); }
long do_renameat(struct call *c) { return rename_at(c, (int)c->a[0], c->a[1], (int)c->a[2], c->a[3], 0); }
long do_renameat2(struct call *c)
{
	return rename_at(c, (int)c->a[0], c->a[1], (int)c->a[2], c->a[3], (unsigned)c->a[4]);
}

static long link_at(struct call *c, int from_fd, uint64_t from, int to_fd, uint64_t to, int flags)
{
	struct where w, v;
	struct stat st;
	int walk = (flags & AT_EMPTY_PATH ? EMPTY : 0) | (flags & AT_SYMLINK_FOLLOW ? FOLLOW : 0);
	int bad = path_at(c, from_fd, from, walk, &w);
	if (bad)
		return bad;
	bad = path_at(c, to_fd, to, 0, &v);
	if (!bad)
		bad = look(&w, &st);
	if (!bad && w.mount != v.mount && w.nofollow)
		bad = -EXDEV;
	if (!bad && !w.nofollow && (path_magic(&w), cow_lost(&st, &w)))
		bad = -ENOENT;
	if (!bad && v.readonly)
		bad = -EROFS;
	if (!bad)
		bad = may_change_entry(c, &v, NULL);
	if (!bad && cow_shared(&st, &w)) {
		struct stat other;
		if (look(&v, &other) == 0)
			bad = -EEXIST;
		else if (!(bad = cow_break(&w, &st, false)))
			bad = look(&w, &st);
	}
	if (!bad)
		bad = own_name(&w, &st);
	if (!bad)
		bad = TRY(&v, linkat(w.fd, w.rel, v.fd, v.rel, w.nofollow ? 0 : AT_SYMLINK_FOLLOW));
	if (!bad) {
		cow_own(&st);
		paths_changed(v.g, false);
		touched(&w); /* a write through its new name changes it too */
		touched(&v);
	}
	where_done(&w);
	where_done(&v);
	return bad;
}

long do_link(struct call *c) { return link_at(c, AT_FDCWD, c->a[0], AT_FDCWD, c->a[1], 0); }
long do_linkat(struct call *c) { return link_at(c, (int)c->a[0], c->a[1], (int)c->a[2], c->a[3], (int)c->a[4]); }

static long symlink_at(struct call *c, uint64_t from, int dirfd, uint64_t to)
{
	struct where w;
	char target[PATH_MAX];
	long n = mem_string(c->t->tid, target, from, sizeof target);
	if (n < 0)
		return n;
	int bad = path_at(c, dirfd, to, 0, &w);
	if (!bad && w.readonly)
		bad = -EROFS;
	if (!bad)
		bad = may_change_entry(c, &w, NULL);
	if (!bad)
		bad = TRY(&w, symlinkat(target, w.fd, w.rel));
	if (!bad) {
		paths_changed(w.g, false);
		created(c, &w, S_IFLNK | 0777);
	}
	where_done(&w);
	return bad;
}

long do_symlink(struct call *c) { return symlink_at(c, c->a[0], AT_FDCWD, c->a[1]); }
long do_symlinkat(struct call *c) { return symlink_at(c, c->a[0], (int)c->a[1], c->a[2]); }

static long mknod_at(struct call *c, int dirfd, uint64_t pointer, unsigned mode, dev_t rdev)
{
	struct where w;
	unsigned type = mode & S_IFMT ? mode & S_IFMT : S_IFREG;
	bool device = type == S_IFCHR || type == S_IFBLK;
	int bad = path_at(c, dirfd, pointer, 0, &w);
	if (!bad && w.readonly)
		bad = -EROFS;
	if (!bad && device && options.ids && !has_capability(c->t, 27 /* CAP_MKNOD */))
		bad = -EPERM;
	if (!bad)
		bad = may_change_entry(c, &w, NULL);
	if (!bad) {
		mode = type | (mode & 07777 & ~c->t->fs->umask);
		unsigned real = device && options.ids ? S_IFREG | 0600 : type | real_mode(mode);
		bad = TRY(&w, mknodat(w.fd, w.rel, real, device && options.ids ? 0 : rdev));
	}
	if (!bad) {
		paths_changed(w.g, false);
		created(c, &w, mode);
		struct stat st;
		struct owner *o = device && options.ids && !look(&w, &st) ? owner_make(&st, &w) : NULL;
		if (o)
			o->mode = mode, o->rdev = rdev;
	}
	where_done(&w);
	return bad;
}

long do_mknod(struct call *c) { return mknod_at(c, AT_FDCWD, c->a[0], (unsigned)c->a[1], c->a[2]); }
long do_mknodat(struct call *c) { return mknod_at(c, (int)c->a[0], c->a[1], (unsigned)c->a[2], c->a[3]); }
