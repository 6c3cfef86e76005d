/* Copy-on-write: files that are hard links to the store's get a copy of their own before they change.
 *
 * A file with more than one name is the store's, unless the names were made here: cow_own remembers those. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include "tracer.h"

/* --- sets of inodes and of strings --------------------------------------------------------------------------------- */

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

bool cow_shared(const struct stat *st, const struct where *w)
{
	return options.cow && S_ISREG(st->st_mode) && st->st_nlink > 1 && (!w || !w->mount || !w->mount->dst_len) &&
	       !own_find(st);
}

/* --- names that the image has for one file --------------------------------------------------------------------------- */

static char **groups; /* each: paths ended by NUL, an empty one at the end */
static size_t group_count;
static struct { uint64_t dev, ino; size_t group, names; } *members;
static size_t member_count;

/* The file has groups of paths: NUL after a path, two after the last of a group. */
int cow_load(const char *file)
{
	FILE *in = fopen(file, "re");
	if (!in)
		return -errno;
	fseek(in, 0, SEEK_END);
	long size = ftell(in);
	rewind(in);
	char *data = calloc(1, (size_t)size + 2);
	if (!data || fread(data, 1, (size_t)size, in) != (size_t)size)
		return -EIO;
	fclose(in);
	struct task nobody = {.fs = &(struct fs){.root = text_new("")}, .tgid = 1};
	for (char *at = data, *end = data + size; at < end; at++) {
		groups = realloc(groups, (group_count + 1) * sizeof *groups);
		members = realloc(members, (member_count + 1) * sizeof *members);
		if (!groups || !members)
			return -ENOMEM;
		groups[group_count] = at;
		struct where w;
		struct stat st;
		if (!path_walk(&nobody, "", at, 0, &w) && !look(&w, &st)) {
			members[member_count].dev = st.st_dev;
			members[member_count].ino = st.st_ino;
			members[member_count++].group = group_count;
		}
		group_count++;
		size_t names = 0;
		for (; *at; at += strlen(at) + 1)
			names++;
		if (member_count && members[member_count - 1].group == group_count - 1)
			members[member_count - 1].names = names;
	}
	return 0;
}

/* How many names a file of the store has in the image. */
nlink_t cow_names(const struct stat *st)
{
	for (size_t n = 0; n < member_count; n++)
		if (members[n].ino == st->st_ino && members[n].dev == st->st_dev)
			return members[n].names;
	return 1;
}

static void relink(const struct stat *old, const struct where *w)
{
	struct task nobody = {.fs = &(struct fs){.root = text_new("")}, .tgid = 1};
	for (size_t n = 0; n < member_count; n++) {
		if (members[n].ino != old->st_ino || members[n].dev != old->st_dev)
			continue;
		for (char *path = groups[members[n].group]; *path; path += strlen(path) + 1) {
			struct where other;
			struct stat st;
			char name[ROOM + 32];
			if (path_walk(&nobody, "", path, 0, &other) || look(&other, &st) || st.st_ino != old->st_ino ||
			    st.st_dev != old->st_dev)
				continue;
			snprintf(name, sizeof name, "%s.pb~", other.rel);
			unlinkat(other.fd, name, 0);
			if (linkat(w->fd, w->rel, other.fd, name, 0) || renameat(other.fd, name, other.fd, other.rel))
				unlinkat(other.fd, name, 0);
			else
				touched(&other);
		}
	}
}

/* --- the copy ----------------------------------------------------------------------------------------------------------- */

static int copy_data(int from, int to, off_t size)
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

static void copy_xattrs(int from, int to)
{
	char names[4096], value[65536];
	ssize_t size = flistxattr(from, names, sizeof names);
	for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t n = fgetxattr(from, name, value, sizeof value);
		if (n >= 0)
			fsetxattr(to, name, value, (size_t)n, 0);
	}
}

/* Give the file at `w`, the store's, an inode of its own: with the same content, or none when that is cut off. */
int cow_break(struct where *w, const struct stat *st, bool empty)
{
	if (!cow_shared(st, w) || !w->mount)
		return 0;
	struct where at = *w; /* of an open file: its name */
	char name[ROOM + 32];
	struct stat now;
	at.fd = at.mount->fd;
	at.rel = w->g + at.mount->dst_len;
	while (*at.rel == '/')
		at.rel++;
	at.nofollow = AT_SYMLINK_NOFOLLOW;
	snprintf(name, sizeof name, "%s.pb~", at.rel);
	if (strlen(strrchr(name, '/') ? strrchr(name, '/') : name) > NAME_MAX) {
		char *slash = strrchr(name, '/');
		strcpy(slash ? slash + 1 : name, ".pb~");
	}
	int from = openat(at.fd, at.rel, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), to = -1, bad = 0;
	if (from < 0 || fstat(from, &now))
		return -errno;
	if (now.st_ino != st->st_ino) {
		close(from);
		return 0; /* an open file that has no such name any more */
	}
	unlinkat(at.fd, name, 0);
	to = openat(at.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0) {
		bad = -errno;
		close(from);
		return bad;
	}
	if (!empty)
		bad = copy_data(from, to, st->st_size);
	copy_xattrs(from, to);
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (!bad && (fchmod(to, st->st_mode & 07777) || futimens(to, times) || fstat(to, &now) ||
		     renameat(at.fd, name, at.fd, at.rel)))
		bad = -errno;
	if (bad)
		unlinkat(at.fd, name, 0);
	close(from);
	close(to);
	if (bad)
		return bad;
	owner_move(st, &now, &at);
	cow_own(&now);
	if (member_count)
		relink(st, &at);
	return 0;
}

/* --- what was changed ------------------------------------------------------------------------------------------------------ */

struct path {
	struct path *next;
	char g[];
};
#define PATHS 16384
static struct path *paths[PATHS];

void touched(const struct where *w)
{
	if (!options.changes || !w->mount || w->mount->dst_len)
		return;
	uint64_t h = 5381;
	for (const char *p = w->g; *p; p++)
		h = h * 33 + (unsigned char)*p;
	struct path **slot = &paths[h % PATHS];
	for (struct path *p = *slot; p; p = p->next)
		if (!strcmp(p->g, w->g))
			return;
	struct path *p = malloc(sizeof *p + strlen(w->g) + 1);
	if (!p)
		return;
	strcpy(p->g, w->g);
	p->next = *slot;
	*slot = p;
}

int touched_save(const char *file)
{
	FILE *out = fopen(file, "we");
	if (!out)
		return -errno;
	for (size_t n = 0; n < PATHS; n++)
		for (struct path *p = paths[n]; p; p = p->next)
			fwrite(p->g, strlen(p->g) + 1, 1, out);
	return fclose(out) ? -errno : 0;
}
