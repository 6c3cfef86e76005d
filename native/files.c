/* The answers to calls that open, look at, or change files by their names. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "calls.h"

int look(struct where *w, struct stat *st)
{
	return fstatat(w->fd, w->rel, st, w->nofollow) ? -errno : 0;
}

int look_shown(struct where *w, struct stat *st)
{
	int bad = look(w, st);
	if (bad == -EACCES && make_accessible(w))
		bad = look(w, st);
	if (!bad)
		owner_show(st, w);
	return bad;
}

/* What the kernel asks of a file's mode: mask of 4 (read), 2 (write), 1 (execute). */
int may(const struct task *t, const struct stat *shown, int mask)
{
	const struct creds *c = &t->creds;
	unsigned mode = shown->st_mode;
	if (!options.ids || (proc_dev && shown->st_dev == proc_dev))
		return 0;
	if (c->fsuid == 0)
		return mask & 1 && !S_ISDIR(mode) && !(mode & 0111) ? -EACCES : 0;
	if (shown->st_uid == c->fsuid)
		mode >>= 6;
	else if (creds_in_group(c, shown->st_gid))
		mode >>= 3;
	return (mode & (unsigned)mask) == (unsigned)mask ? 0 : -EACCES;
}

/* May the process make, take away or replace a name? `victim` is what it shows, or NULL. */
int may_change_entry(struct call *c, struct where *w, const struct stat *victim)
{
	struct stat parent;
	if (is_root(c->t))
		return 0;
	int bad = where_parent(w, &parent);
	if (bad)
		return bad;
	owner_show(&parent, NULL);
	if ((bad = may(c->t, &parent, 3)))
		return bad;
	if (victim && parent.st_mode & S_ISVTX && parent.st_uid != c->t->creds.fsuid &&
	    victim->st_uid != c->t->creds.fsuid)
		return -EPERM;
	return 0;
}

static bool open_up(int fd, const char *rel, struct where *w)
{
	struct stat st;
	if (fstatat(fd, rel, &st, AT_SYMLINK_NOFOLLOW) || st.st_uid != my_uid || S_ISLNK(st.st_mode))
		return false;
	unsigned wanted = st.st_mode | (S_ISDIR(st.st_mode) ? 0700 : 0600);
	if (wanted == st.st_mode)
		return false;
	struct where at = {.fd = fd, .rel = rel, .nofollow = AT_SYMLINK_NOFOLLOW, .close = -1, .mount = w->mount};
	if (w->mount)
		snprintf(at.g, sizeof at.g, "%s/%s", w->mount->dst, rel);
	if (cow_break(&at, &st, false) || fstatat(fd, rel, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	struct owner *o = owner_make(&st, &at);
	if (!o)
		return false;
	if (o->mode == NO_MODE)
		o->mode = st.st_mode;
	return !fchmodat(fd, rel, wanted & 07777, 0);
}

/* Modes that keep the owner out do not keep root out: give us, the owner, the rights, and remember the mode. */
int make_accessible(struct where *w)
{
	char path[ROOM];
	int changed = 0;
	if (!options.ids || !w->mount || my_uid == 0)
		return 0;
	const char *rel = w->g + w->mount->dst_len;
	while (*rel == '/')
		rel++;
	for (size_t n = 1; *rel && n <= strlen(rel); n++)
		if (rel[n] == '/' || !rel[n]) {
			memcpy(path, rel, n);
			path[n] = 0;
			changed |= open_up(w->mount->fd, path, w);
		}
	return changed;
}

/* Whether a new file is somebody else's than root's, who owns what is not in the table. */
static bool owned(struct call *c, const struct where *w)
{
	struct stat parent;
	if (c->t->creds.fsuid || c->t->creds.fsgid)
		return true;
	return !where_parent(w, &parent) && parent.st_mode & S_ISGID;
}

/* A file was made: with the process's ids, or its directory's group. `wanted` is the mode it should have. */
static void created(struct call *c, struct where *w, unsigned wanted)
{
	struct stat parent, st;
	touched(w);
	if (!options.ids)
		return;
	uid_t uid = c->t->creds.fsuid;
	gid_t gid = c->t->creds.fsgid;
	unsigned inherited = 0;
	if (!where_parent(w, &parent)) {
		owner_show(&parent, NULL);
		if (parent.st_mode & S_ISGID) {
			gid = parent.st_gid;
			inherited = S_ISDIR(wanted) ? S_ISGID : 0;
		}
	}
	if (!uid && !gid && !inherited && (S_ISLNK(wanted) || real_mode(wanted) == (wanted & 07777)))
		return;
	if (look(w, &st))
		return;
	struct owner *o = owner_make(&st, w);
	if (!o)
		return;
	o->uid = uid;
	o->gid = gid;
	if (!S_ISLNK(wanted) && (real_mode(wanted) != (wanted & 07777) || inherited || S_ISCHR(wanted) || S_ISBLK(wanted)))
		o->mode = wanted | inherited;
}

unsigned real_mode(unsigned mode)
{
	if (!options.ids || my_uid == 0)
		return mode & 07777;
	return (mode & 07777) | (S_ISDIR(mode) ? 0700 : 0400);
}

static bool busy(const struct where *w)
{
	return w->mount && w->mount->dst_len && strlen(w->g) == w->mount->dst_len;
}

/* --- open -------------------------------------------------------------------------------------------------------- */

static const char *device_of(dev_t rdev)
{
	static const struct { unsigned major, minor; const char *path; } known[] = {
		{1, 3, "/dev/null"}, {1, 5, "/dev/zero"}, {1, 7, "/dev/full"}, {1, 8, "/dev/random"},
		{1, 9, "/dev/urandom"}, {5, 0, "/dev/tty"}, {5, 2, "/dev/ptmx"},
	};
	for (size_t n = 0; n < sizeof known / sizeof *known; n++)
		if (major(rdev) == known[n].major && minor(rdev) == known[n].minor)
			return known[n].path;
	return NULL;
}

struct waiting {
	uint64_t id;
	int flags;
	char path[96];
	int fd;
};

static void *open_fifo(void *data)
{
	struct waiting *wait = data;
	int fd = open(wait->path, wait->flags);
	notify_answer(wait->id, fd < 0 ? -errno : fd, fd >= 0, wait->flags & O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	close(wait->fd);
	free(wait);
	return NULL;
}

/* An open that waits for the other end is done by a thread of its own. */
static long open_later(struct call *c, struct where *w, int flags)
{
	struct waiting *wait = malloc(sizeof *wait);
	pthread_t thread;
	int fd = openat(w->fd, w->rel, O_PATH | O_CLOEXEC);
	if (!wait || fd < 0)
		return -ENOMEM;
	*wait = (struct waiting){.id = c->id, .flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW), .fd = fd};
	snprintf(wait->path, sizeof wait->path, "%sself/fd/%d", proc, fd);
	if (pthread_create(&thread, NULL, open_fifo, wait))
		return -EAGAIN;
	pthread_detach(thread);
	c->action = LATER;
	return 0;
}

static long open_at(struct call *c, int dirfd, uint64_t pointer, int flags, unsigned mode, int walk)
{
	struct where w;
	struct stat st, shown;
	if (!options.paths && is_root(c->t) && !(flags & (O_ACCMODE | O_CREAT | O_TRUNC))) {
		c->action = GO;
		return 0;
	}
	bool exclusive = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
	bool to_write = !(flags & O_PATH) && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC);
	bool temporary = (flags & O_TMPFILE) == O_TMPFILE;
	if (!(flags & O_NOFOLLOW) && !exclusive)
		walk |= FOLLOW;
	int bad = path_at(c, dirfd, pointer, walk, &w);
	if (bad)
		return bad;
	bad = look(&w, &st);
	if (bad == -EACCES && make_accessible(&w))
		bad = look(&w, &st);
	if (bad && (bad != -ENOENT || !(flags & O_CREAT)))
		goto out;
	bool exists = !bad, own_mode = false;
	bad = 0;
	if (exists) {
		shown = st;
		owner_show(&shown, &w);
		bool file = S_ISREG(shown.st_mode) || S_ISDIR(shown.st_mode);
		if (exclusive)
			bad = -EEXIST;
		else if (w.readonly && (to_write || temporary) && file)
			bad = -EROFS;
		else if (!is_root(c->t) && !(flags & O_PATH) && !S_ISLNK(st.st_mode) &&
			 (options.paths ? w.mount && w.nofollow : file)) {
			int accmode = flags & O_ACCMODE;
			bad = may(c->t, &shown, (accmode != O_WRONLY ? 4 : 0) | (to_write ? 2 : 0) | (temporary ? 1 : 0));
			/* fs.protected_regular and _fifos, as containers have them, are left out. */
		}
		if (bad)
			goto out;
		if (to_write && (bad = cow_break(&w, &st, flags & O_TRUNC)))
			goto out;
		if (to_write && S_ISREG(st.st_mode))
			touched(&w);
		if ((S_ISCHR(shown.st_mode) || S_ISBLK(shown.st_mode)) && S_ISREG(st.st_mode) && !(flags & O_PATH)) {
			const char *device = S_ISCHR(shown.st_mode) ? device_of(shown.st_rdev) : NULL;
			if (!device) {
				bad = -ENXIO;
				goto out;
			}
			where_done(&w);
			w = (struct where){.fd = AT_FDCWD, .rel = device, .close = -1};
		}
		else if (!options.paths && !temporary) {
			c->action = GO;
			goto out;
		}
		if (S_ISFIFO(st.st_mode) && !(flags & (O_PATH | O_NONBLOCK)) && (flags & O_ACCMODE) != O_RDWR) {
			bad = (int)open_later(c, &w, flags);
			goto out;
		}
	} else if (!options.paths && !fstatat(w.fd, w.rel, &st, AT_SYMLINK_NOFOLLOW)) {
		c->action = GO; /* a link, maybe to what the process has open */
		goto out;
	} else {
		if (w.readonly)
			bad = -EROFS;
		else
			bad = may_change_entry(c, &w, NULL);
		if (!bad && !options.paths && !owned(c, &w))
			c->action = GO;
		if (bad || c->action == GO)
			goto out;
	}
	mode = flags & O_CREAT || temporary ? (mode & 07777 & ~c->t->fs->umask) | S_IFREG : 0;
	own_mode = !exists || temporary;
	int how = (flags & ~(w.nofollow ? 0 : O_NOFOLLOW)) | O_CLOEXEC | O_NOCTTY;
	int fd = openat(w.fd, w.rel, how, own_mode ? real_mode(mode) : 0);
	if (fd < 0 && errno == EACCES && make_accessible(&w))
		fd = openat(w.fd, w.rel, how, own_mode ? real_mode(mode) : 0);
	if (fd < 0) {
		bad = -errno;
		goto out;
	}
	if (temporary && options.ids) {
		struct where made = {.fd = fd, .rel = "", .nofollow = AT_EMPTY_PATH, .close = -1};
		if (c->t->creds.fsuid || c->t->creds.fsgid) {
			struct owner *o = fstat(fd, &st) ? NULL : owner_make(&st, &made);
			if (o)
				o->uid = c->t->creds.fsuid, o->gid = c->t->creds.fsgid;
		}
	} else if (!exists)
		created(c, &w, mode);
	c->action = DESCRIPTOR;
	c->cloexec = flags & O_CLOEXEC;
	where_done(&w);
	return fd;
out:
	where_done(&w);
	return bad;
}

long do_open(struct call *c)
{
	if (c->regs)
		return open_path(c, AT_FDCWD, 0, (int)c->a[1]);
	return open_at(c, AT_FDCWD, c->a[0], (int)c->a[1], (unsigned)c->a[2], 0);
}

long do_creat(struct call *c)
{
	return open_at(c, AT_FDCWD, c->a[0], O_CREAT | O_WRONLY | O_TRUNC, (unsigned)c->a[1], 0);
}

long do_openat(struct call *c)
{
	if (c->regs)
		return open_path(c, (int)c->a[0], 1, (int)c->a[2]);
	return open_at(c, (int)c->a[0], c->a[1], (int)c->a[2], (unsigned)c->a[3], 0);
}

long do_openat2(struct call *c)
{
	struct open_how how = {0};
	if (c->a[3] < sizeof how)
		return -EINVAL;
	long bad = mem_read(c->t->tid, &how, c->a[2], sizeof how);
	if (bad < 0)
		return bad;
	if (how.resolve & ~0x3fUL)
		return -EINVAL;
	if (how.flags & O_PATH || (!options.paths && how.resolve))
		return -ENOSYS; /* what cannot be done here; programs do without */
	if (!(how.resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH)))
		return open_at(c, (int)c->a[0], c->a[1], (int)how.flags, (unsigned)how.mode,
			       how.resolve & RESOLVE_NO_SYMLINKS ? NO_LINKS : 0);
	/* The directory is the root for this one walk. */
	struct where w;
	char first = 0;
	bad = mem_read(c->t->tid, &first, c->a[1], 1);
	if (bad >= 0 && first == '/' && how.resolve & RESOLVE_BENEATH)
		return -EXDEV;
	if (bad < 0 || (bad = path_at_string(c, (int)c->a[0], (int)c->a[0] == AT_FDCWD ? "." : "", EMPTY, &w)))
		return bad;
	if (!w.mount)
		return -ENOTDIR;
	struct fs *fs = c->t->fs, inside = *fs;
	inside.root = inside.cwd = text_new(w.g);
	where_done(&w);
	c->t->fs = &inside;
	bad = open_at(c, (int)c->a[0], c->a[1], (int)how.flags, (unsigned)how.mode,
		      how.resolve & RESOLVE_NO_SYMLINKS ? NO_LINKS : 0);
	c->t->fs = fs;
	text_drop(inside.root);
	return bad;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

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
		/* Most names are no links: only now is it walked to the end. */
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
		};
		owner_show(&st, &w);
		x.stx_mode = (uint16_t)st.st_mode;
		x.stx_uid = st.st_uid, x.stx_gid = st.st_gid;
		x.stx_nlink = (uint32_t)st.st_nlink;
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
	if (!options.paths) { /* for root, and where something else is in the way, the kernel knows */
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

/* Links in /proc tell paths of the host, or of us. */
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

/* --- names: making, moving, taking away ------------------------------------------------------------------------- */

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
	if (!bad)
		bad = TRY(&w, unlinkat(w.fd, w.rel, flags & AT_REMOVEDIR));
	if (!bad) {
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
	if (!bad && options.paths && (busy(&w) || busy(&v)))
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
		bad = TRY(&v, linkat(w.fd, w.rel, v.fd, v.rel, w.nofollow ? 0 : AT_SYMLINK_FOLLOW));
	if (!bad) {
		cow_own(&st);
		paths_changed(v.g, false);
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
