/* The answers to calls that look at files. */
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "calls.h"

static long stat_at(struct call *c, int dirfd, uint64_t pointer, int flags, uint64_t out)
{
	struct where w;
	struct stat st;
	bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
	int walk = (flags & AT_EMPTY_PATH ? EMPTY | NULL_OK : 0) | (options.paths || !follow ? 0 : FOLLOW);
	int bad = path_at(c, dirfd, pointer, walk, &w);
	if (!bad)
		bad = look_shown(&w, &st);
	if (!bad && follow && options.paths && S_ISLNK(st.st_mode) && w.nofollow) {
		/* Most names are not links, so only now is it walked to the end. */
		where_done(&w);
		bad = path_at(c, dirfd, pointer, walk | FOLLOW, &w);
		if (!bad)
			bad = look_shown(&w, &st);
	}
	where_done(&w);
	if (bad)
		return bad;
	return mem_write(c->t->tid, out, &st, sizeof st);
}

long do_stat(struct call *c) { return stat_at(c, AT_FDCWD, c->a[0], 0, c->a[1]); }
long do_lstat(struct call *c) { return stat_at(c, AT_FDCWD, c->a[0], AT_SYMLINK_NOFOLLOW, c->a[1]); }
long do_fstat(struct call *c) { return stat_at(c, (int)c->a[0], 0, AT_EMPTY_PATH, c->a[1]); }
long do_newfstatat(struct call *c) { return stat_at(c, (int)c->a[0], c->a[1], (int)c->a[3], c->a[2]); }

long do_statx(struct call *c)
{
	struct where w;
	struct statx x;
	int flags = (int)c->a[2];
	int walk = (flags & AT_EMPTY_PATH ? EMPTY | NULL_OK : 0) | (flags & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOW);
	int bad = path_at(c, (int)c->a[0], c->a[1], walk, &w);
	if (!bad && syscall(SYS_statx, w.fd, w.rel, (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) | w.nofollow,
			    (unsigned)c->a[3], &x))
		bad = -errno;
	if (!bad) {
		struct stat st = {
			.st_dev = makedev(x.stx_dev_major, x.stx_dev_minor), .st_ino = x.stx_ino, .st_mode = x.stx_mode,
			.st_uid = x.stx_uid, .st_gid = x.stx_gid, .st_nlink = x.stx_nlink,
			.st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
			.st_size = (off_t)x.stx_size, .st_blocks = (blkcnt_t)x.stx_blocks,
			.st_mtim = {.tv_sec = x.stx_mtime.tv_sec, .tv_nsec = x.stx_mtime.tv_nsec},
		};
		owner_show(&st, &w);
		x.stx_mode = (uint16_t)st.st_mode;
		x.stx_uid = st.st_uid, x.stx_gid = st.st_gid;
		x.stx_nlink = (uint32_t)st.st_nlink;
		x.stx_blocks = (uint64_t)st.st_blocks;
		x.stx_mtime.tv_sec = st.st_mtim.tv_sec, x.stx_mtime.tv_nsec = (uint32_t)st.st_mtim.tv_nsec;
		x.stx_rdev_major = major(st.st_rdev), x.stx_rdev_minor = minor(st.st_rdev);
		bad = (int)mem_write(c->t->tid, c->a[4], &x, sizeof x);
	}
	where_done(&w);
	return bad;
}

static long access_at(struct call *c, int dirfd, uint64_t pointer, int mode, int flags)
{
	struct where w;
	struct stat st;
	int walk = (flags & AT_EMPTY_PATH ? EMPTY : 0) | (flags & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOW);
	int bad = path_at(c, dirfd, pointer, walk, &w);
	if (!bad)
		bad = look_shown(&w, &st);
	if (!bad && mode & W_OK && w.readonly && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		bad = -EROFS;
	if (!options.paths) { /* for root, and where anything else forbids it, the kernel decides */
		bool root = !(flags & AT_EACCESS ? c->t->creds.fsuid : c->t->creds.uid);
		if (bad || root || !mode || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
			bad = 0, mode = 0;
		c->action = GO;
	}
	if (!bad && mode && !S_ISLNK(st.st_mode) && (!w.mount || !w.mount->proc)) {
		if (options.ids) {
			struct creds saved = c->t->creds;
			if (!(flags & AT_EACCESS))
				c->t->creds.fsuid = saved.uid, c->t->creds.fsgid = saved.gid;
			bad = may(c->t, &st, mode & 7);
			c->t->creds.fsuid = saved.fsuid, c->t->creds.fsgid = saved.fsgid;
		} else if (faccessat(w.fd, w.rel, mode, 0))
			bad = -errno;
	}
	where_done(&w);
	return bad;
}

long do_access(struct call *c) { return access_at(c, AT_FDCWD, c->a[0], (int)c->a[1], 0); }
long do_faccessat(struct call *c) { return access_at(c, (int)c->a[0], c->a[1], (int)c->a[2], 0); }
long do_faccessat2(struct call *c) { return access_at(c, (int)c->a[0], c->a[1], (int)c->a[2], (int)c->a[3]); }

/* Links in /proc would show paths of the host, or of the tracer. */
static long proc_link(struct call *c, struct where *w, char *target, size_t n)
{
	const char *rel = w->g + w->mount->dst_len + 1;
	char g[ROOM];
	const char *name = strrchr(w->g, '/') + 1;
	if (!strcmp(rel, "self"))
		return sprintf(target, "%d", c->t->tgid);
	if (!strcmp(rel, "thread-self"))
		return sprintf(target, "%d/task/%d", c->t->tgid, c->t->tid);
	if (target[0] != '/' || rel[0] < '1' || rel[0] > '9')
		return (long)n;
	struct task *other = task_find(atoi(rel));
	if (!strcmp(name, "root"))
		strcpy(g, other && other->fs->root->s[0] ? other->fs->root->s : "/");
	else if (!strcmp(name, "exe") && other && other->exe)
		strcpy(g, other->exe->s);
	else if (!path_to_guest(strcmp(target, "/") ? target : "", g))
		return (long)n;
	const char *root = c->t->fs->root->s, *seen = g;
	if (*root && !strncmp(g, root, strlen(root)))
		seen += strlen(root);
	return snprintf(target, PATH_MAX, "%s", *seen ? seen : "/");
}

static long readlink_at(struct call *c, int dirfd, uint64_t pointer, uint64_t out, uint64_t size)
{
	struct where w;
	char target[PATH_MAX + 1];
	if ((int)size <= 0)
		return -EINVAL;
	int bad = path_at(c, dirfd, pointer, EMPTY, &w);
	if (bad)
		return bad;
	if (w.mount && !w.nofollow && !w.mount->file) { /* an open link */
		w.fd = w.mount->fd;
		w.rel = w.g + w.mount->dst_len + (w.g[w.mount->dst_len] == '/');
	}
	long n = readlinkat(w.fd, w.rel, target, PATH_MAX);
	if (n < 0)
		n = -errno;
	else {
		target[n] = 0;
		if (w.mount && w.mount->proc && strlen(w.g) > w.mount->dst_len)
			n = proc_link(c, &w, target, (size_t)n);
		if ((uint64_t)n > size)
			n = (long)size;
		long done = mem_write(c->t->tid, out, target, (size_t)n);
		if (done < 0)
			n = done;
	}
	where_done(&w);
	return n;
}

long do_readlink(struct call *c) { return readlink_at(c, AT_FDCWD, c->a[0], c->a[1], c->a[2]); }
long do_readlinkat(struct call *c) { return readlink_at(c, (int)c->a[0], c->a[1], c->a[2], c->a[3]); }

long do_statfs(struct call *c)
{
	struct where w;
	struct statfs fs;
	int bad = path_at(c, AT_FDCWD, c->a[0], FOLLOW, &w);
	if (!bad) {
		int fd = openat(w.fd, w.rel, O_PATH | O_CLOEXEC);
		if (fd < 0 || fstatfs(fd, &fs))
			bad = -errno;
		if (fd >= 0)
			close(fd);
	}
	where_done(&w);
	return bad ? bad : mem_write(c->t->tid, c->a[1], &fs, sizeof fs);
}

long do_getcwd(struct call *c)
{
	char g[ROOM];
	struct where w;
	struct stat st;
	int bad = path_cwd(c->t, g);
	if (bad)
		return bad;
	if (path_walk(c->t, g, ".", 0, &w) || look(&w, &st))
		return -ENOENT;
	const char *root = c->t->fs->root->s, *seen = g;
	if (*root && !strncmp(g, root, strlen(root)))
		seen += strlen(root);
	if (!*seen)
		seen = "/";
	size_t n = strlen(seen) + 1;
	if (n > c->a[1])
		return -ERANGE;
	long done = mem_write(c->t->tid, c->a[0], seen, n);
	return done < 0 ? done : (long)n;
}
