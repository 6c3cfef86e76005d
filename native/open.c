/* The answers to calls that open files. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sys/sysmacros.h>

#include "calls.h"

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
	int listener;
	uint64_t id;
	int flags;
	char path[96];
	int fd;
};

static void *open_fifo(void *data)
{
	struct waiting *wait = data;
	int fd = open(wait->path, wait->flags);
	notify_answer(wait->listener, wait->id, fd < 0 ? -errno : fd, fd >= 0, wait->flags & O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	close(wait->fd);
	free(wait);
	return NULL;
}

/* An open that waits for the other end gets a thread of its own. */
static long open_later(struct call *c, struct where *w, int flags)
{
	struct waiting *wait = malloc(sizeof *wait);
	pthread_t thread;
	int fd = openat(w->fd, w->rel, O_PATH | O_CLOEXEC);
	if (!wait || fd < 0)
		return -ENOMEM;
	*wait = (struct waiting){.listener = c->listener, .id = c->id, .flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW), .fd = fd};
	snprintf(wait->path, sizeof wait->path, "%sself/fd/%d", proc, fd);
	if (pthread_create(&thread, NULL, open_fifo, wait))
		return -EAGAIN;
	pthread_detach(thread);
	c->action = LATER;
	return 0;
}

/* Return whether a new file belongs to a user other than root, who owns everything that is not in the table. */
static bool owned(struct call *c, const struct where *w)
{
	struct stat parent;
	if (c->t->creds.fsuid || c->t->creds.fsgid)
		return true;
	return !where_parent(w, &parent) && parent.st_mode & S_ISGID;
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
	if (exists && to_write && !w.nofollow) {
		path_magic(&w);
		if (cow_lost(&st, &w)) {
			bad = -EPERM;
			goto out;
		}
	}
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
			/* fs.protected_regular and fs.protected_fifos, which apply in containers, are not imitated. */
		}
		if (bad)
			goto out;
		if (to_write && ((bad = cow_break(&w, &st, flags & O_TRUNC)) || (S_ISREG(st.st_mode) && (bad = own_name(&w, &st)))))
			goto out;
		if (to_write && S_ISREG(st.st_mode))
			touched(&w);
		else if (!(flags & O_PATH) && (bad = lazy_need(&st)))
			goto out;
		if ((S_ISCHR(shown.st_mode) || S_ISBLK(shown.st_mode)) && S_ISREG(st.st_mode) && !(flags & O_PATH)) {
			const char *device = S_ISCHR(shown.st_mode) ? device_of(shown.st_rdev) : NULL;
			if (!device) {
				bad = -ENXIO;
				goto out;
			}
			where_done(&w);
			w = (struct where){.fd = AT_FDCWD, .rel = device, .close = -1};
		} else if (!options.paths && !temporary) {
			c->action = GO;
			goto out;
		}
		if (S_ISFIFO(st.st_mode) && !(flags & (O_PATH | O_NONBLOCK)) && (flags & O_ACCMODE) != O_RDWR) {
			bad = (int)open_later(c, &w, flags);
			goto out;
		}
	} else if (!options.paths && !fstatat(w.fd, w.rel, &st, AT_SYMLINK_NOFOLLOW)) {
		c->action = GO; /* a link, perhaps to an open file of the process */
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
	if (exists && S_ISDIR(st.st_mode)) {
		path_magic(&w);
		lower_fill(w.g, strlen(w.g));
	}
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
		return -ENOSYS; /* unsupported here; programs do without it */
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
