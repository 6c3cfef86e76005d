/* Copy-on-write: hard links to files of the store get a copy of their own before they change. A file with more than
 * one name belongs to the store, unless its names were made here: cow_own remembers those. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include "tracer.h"

/* Sets of inodes and of strings. */

struct inode {
	struct inode *next;
	uint64_t dev, ino, birth;
};
#define INODES 4096
static struct inode *own[INODES];

static struct inode *own_find(const struct stat *st)
{
	for (struct inode *i = own[st->st_ino % INODES]; i; i = i->next)
		if (i->ino == st->st_ino && i->dev == st->st_dev)
			return i;
	return NULL;
}

void cow_own(const struct stat *st)
{
	if (!options.cow || own_find(st))
		return;
	struct inode *i = calloc(1, sizeof *i);
	if (!i)
		return;
	*i = (struct inode){own[st->st_ino % INODES], st->st_dev, st->st_ino, 0};
	own[st->st_ino % INODES] = i;
}

struct copy { /* of a file of the store's */
	struct copy *next;
	uint64_t dev, of, ino;
};
static struct copy *copies[INODES];

/* Return whether it is an open file of the store whose name was removed: then no name could lead to a copy. */
bool cow_lost(struct stat *st, struct where *w)
{
	struct stat now;
	if (!options.cow || !S_ISREG(st->st_mode) || !st->st_nlink || w->nofollow || !w->mount || w->mount->dst_len ||
	    w->mount->file || own_find(st))
		return false;
	const char *rel = w->g;
	while (*rel == '/')
		rel++;
	if (fstatat(w->mount->fd, rel, &now, AT_SYMLINK_NOFOLLOW))
		return true;
	if (now.st_ino == st->st_ino && now.st_dev == st->st_dev)
		return false;
	struct copy *copy = copies[st->st_ino % INODES];
	while (copy && (copy->of != st->st_ino || copy->ino != now.st_ino || copy->dev != now.st_dev))
		copy = copy->next;
	if (!copy)
		return true;
	/* Its name leads to a copy, which is used from now on, as with overlayfs. */
	w->fd = w->mount->fd;
	w->rel = rel;
	w->nofollow = AT_SYMLINK_NOFOLLOW;
	*st = now;
	return false;
}

bool cow_shared(const struct stat *st, const struct where *w)
{
	return options.cow && S_ISREG(st->st_mode) && st->st_nlink > 1 && (!w || !w->mount || !w->mount->dst_len) &&
	       !own_find(st);
}

/* The copy. */

int copy_data(int from, int to, off_t size)
{
	if (!ioctl(to, 0x40049409 /* FICLONE */, from))
		return 0;
	while (size > 0) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)size, 0);
		if (n <= 0)
			break;
		size -= n;
	}
	static char block[1 << 17];
	while (size > 0) {
		ssize_t n = read(from, block, sizeof block);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		if (write(to, block, (size_t)n) != n)
			return -ENOSPC;
		size -= n;
	}
	return 0;
}

void copy_xattrs(int from, int to)
{
	char names[4096], value[65536];
	ssize_t size = flistxattr(from, names, sizeof names);
	for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t n = fgetxattr(from, name, value, sizeof value);
		if (n >= 0)
			fsetxattr(to, name, value, (size_t)n, 0);
	}
}

/* Give the store's file at `w` an inode of its own, with the same content, or empty if it is about to be truncated. */
int cow_break(struct where *w, const struct stat *st, bool empty)
{
	if (!cow_shared(st, w) || !w->mount)
		return 0;
	struct where at = *w; /* of an open file: its name */
	char name[ROOM + 32];
	struct stat now, shown = *st;
	int bad = empty ? 0 : lazy_need(st);
	if (bad)
		return bad;
	lazy_show(&shown);
	at.fd = at.mount->fd;
	at.rel = w->g + at.mount->dst_len;
	while (*at.rel == '/')
		at.rel++;
	at.nofollow = AT_SYMLINK_NOFOLLOW;
	int aside = options.work >= 0 ? options.work : at.fd;
	const char *slash = strrchr(at.rel, '/');
	snprintf(name, sizeof name, "%.*s.pb~", options.work >= 0 || !slash ? 0 : (int)(slash + 1 - at.rel), at.rel);
	int from = openat(at.fd, at.rel, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), to = -1;
	if (from < 0 || fstat(from, &now))
		return -errno;
	if (now.st_ino != st->st_ino) {
		close(from);
		return -EPERM; /* an open file that no longer has this name */
	}
	unlinkat(aside, name, 0);
	to = openat(aside, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0) {
		bad = -errno;
		close(from);
		return bad;
	}
	if (!empty)
		bad = copy_data(from, to, st->st_size);
	copy_xattrs(from, to);
	struct timespec times[2] = {shown.st_atim, shown.st_mtim};
	/* As with overlayfs, making a copy does not change the times of its directory. */
	struct stat above;
	if (!bad && where_parent(&at, &above))
		above.st_nlink = 0;
	if (!bad && (fchmod(to, st->st_mode & 07777) || futimens(to, times) || fstat(to, &now) ||
		     renameat(aside, name, at.fd, at.rel)))
		bad = -errno;
	if (bad)
		unlinkat(aside, name, 0);
	else if (above.st_nlink)
		where_keep_times(&at, &above);
	close(from);
	close(to);
	if (bad)
		return bad;
	owner_copy(st, &now, &at);
	struct copy *copy = malloc(sizeof *copy);
	if (copy) {
		*copy = (struct copy){copies[st->st_ino % INODES], now.st_dev, st->st_ino, now.st_ino};
		copies[st->st_ino % INODES] = copy;
	}
	if (!w->nofollow && !w->mount->file) { /* an open file: use its name from now on */
		w->fd = at.fd;
		w->rel = at.rel;
		w->nofollow = AT_SYMLINK_NOFOLLOW;
	}
	return 0;
}

/* What was changed. */

struct path {
	struct path *next;
	bool anew; /* a directory that was made or moved there: everything in it counts */
	char g[];
};
#define PATHS 16384
static struct path *paths[PATHS];

static void tell(const struct where *w, bool anew)
{
	if (!options.changes || !w->mount || w->mount->dst_len)
		return;
	uint64_t h = 5381;
	for (const char *p = w->g; *p; p++)
		h = h * 33 + (unsigned char)*p;
	struct path **slot = &paths[h % PATHS];
	for (struct path *p = *slot; p; p = p->next)
		if (!strcmp(p->g, w->g)) {
			p->anew |= anew;
			return;
		}
	struct path *p = malloc(sizeof *p + strlen(w->g) + 1);
	if (!p)
		return;
	strcpy(p->g, w->g);
	p->anew = anew;
	p->next = *slot;
	*slot = p;
}

void touched(const struct where *w) { tell(w, false); }
void touched_anew(const struct where *w) { tell(w, true); }

int touched_save(const char *file)
{
	FILE *out = fopen(file, "we");
	if (!out)
		return -errno;
	for (size_t n = 0; n < PATHS; n++)
		for (struct path *p = paths[n]; p; p = p->next)
			fprintf(out, "%s%s%c", p->g, p->anew ? "/" : "", 0);
	int bad = ferror(out) ? -errno : 0;
	return fclose(out) ? -errno : bad;
}
