/* Translation of the guest's paths into the host's, component by component. */
#include <fcntl.h>

#include "tracer.h"

static unsigned generation = 1; /* counts the renames of directories */

/* What is known of names: links and their targets, directories. */

struct name {
	struct name *next;
	uint64_t hash;
	char *target; /* NULL: not a link */
	char path[];
};
#define NAMES 16384
static struct name *names[NAMES];
static int name_count;

uint64_t hash_of(const char *s, size_t n)
{
	uint64_t h = 1469598103934665603UL;
	while (n--)
		h = (h ^ (unsigned char)*s++) * 1099511628211UL;
	return h ^ h >> 29;
}

static struct name **name_slot(const char *path, uint64_t hash)
{
	struct name **slot = &names[hash % NAMES];
	while (*slot && ((*slot)->hash != hash || strcmp((*slot)->path, path)))
		slot = &(*slot)->next;
	return slot;
}

static void names_flush(void)
{
	for (int n = 0; n < NAMES; n++)
		for (struct name *next, *name = names[n]; name; name = next) {
			next = name->next;
			free(name->target);
			free(name);
		}
	memset(names, 0, sizeof names);
	name_count = 0;
}

/* Forget what is known of the name at `g`, which was created, replaced or removed. */
void paths_changed(const char *g, bool maybe_directory)
{
	struct name **slot = name_slot(g, hash_of(g, strlen(g))), *name = *slot;
	if (name) {
		*slot = name->next;
		free(name->target);
		free(name);
		name_count--;
	}
	if (maybe_directory) {
		generation++;
		names_flush();
	}
}

static const char *relative(const struct mount *m, const char *g)
{
	const char *rel = g + m->dst_len;
	while (*rel == '/')
		rel++;
	return *rel ? rel : ".";
}

/* Return 1 and the target of the link at g, 0 for anything else, or an error. */
static int link_at(struct mount *m, const char *g, char *target)
{
	uint64_t hash = 0;
	if (m->file)
		return 0;
	if (m->cached) {
		struct name *name = *name_slot(g, hash = hash_of(g, strlen(g)));
		if (name) {
			if (name->target)
				strcpy(target, name->target);
			return name->target != NULL;
		}
	}
	if (strlen(g) == m->dst_len)
		return 0;
	ssize_t n = readlinkat(m->fd, relative(m, g), target, PATH_MAX - 1);
	if (n < 0 && errno != EINVAL)
		return -errno;
	if (n >= 0)
		target[n] = 0;
	if (m->cached) {
		if (name_count >= 2 * NAMES)
			names_flush();
		size_t len = strlen(g);
		struct name *name = malloc(sizeof *name + len + 1);
		if (name) {
			struct name **slot = &names[hash % NAMES];
			memcpy(name->path, g, len + 1);
			name->hash = hash;
			name->target = n >= 0 ? strdup(target) : NULL;
			name->next = *slot;
			*slot = name;
			name_count++;
		}
	}
	return n >= 0;
}

/* Walking. */

static void place(struct where *w, bool magic)
{
	w->nofollow = magic || w->mount->file ? 0 : AT_SYMLINK_NOFOLLOW;
	w->readonly = w->mount->readonly;
	if (w->mount->file) {
		snprintf(w->buffer, sizeof w->buffer, "/proc/self/fd/%d", w->mount->fd);
		w->fd = AT_FDCWD;
		w->rel = w->buffer;
		return;
	}
	w->fd = w->mount->fd;
	w->rel = relative(w->mount, w->g);
	if (w->slash && w->rel[0] != '.') {
		size_t len = strlen(w->g);
		if (len + 1 < sizeof w->buffer && len < ROOM - 1) {
			snprintf(w->buffer, sizeof w->buffer, "%s/", w->rel);
			w->rel = w->buffer;
		}
	}
}

/* Inside /proc, some names mean the calling process, and some links lead to files of the host. Return 0 for an
 * ordinary name, 1 if `g` was replaced, 2 for a magic link to follow, or an error. */
static int proc_name(struct task *t, struct mount *m, char *g, size_t parent, bool last)
{
	char *rel = g + m->dst_len + 1, target[PATH_MAX];
	const char *name = g + parent + 1;
	if (parent == m->dst_len) {
		if (!strcmp(name, "self"))
			sprintf(rel, "%d", t->tgid);
		else if (!strcmp(name, "thread-self"))
			sprintf(rel, "%d/task/%d", t->tgid, t->tid);
		else if (name[0] >= '1' && name[0] <= '9' && !task_find(atoi(name)))
			return -ENOENT;
		return 0;
	}
	if (rel[0] < '1' || rel[0] > '9')
		return 0;
	ssize_t n = readlinkat(m->fd, rel, target, sizeof target - 1);
	if (n < 0)
		return errno == EINVAL ? 0 : -errno;
	target[n] = 0;
	struct task *other = task_find(atoi(rel));
	if (!strcmp(name, "root")) {
		strcpy(g, other ? other->fs->root->s : "");
		return 1;
	}
	if (!strcmp(name, "exe") && other && other->exe) {
		strcpy(g, other->exe->s);
		return 1;
	}
	if (target[0] != '/')
		return strchr(target, ':') ? (last ? 2 : -ENOTDIR) : 0;
	if (last)
		return 2;
	return path_to_guest(target, g) ? 1 : -ENOENT;
}

/* Find `path` from the directory `base`, a canonical path of the guest. Only the last name may be missing. */
int path_walk(struct task *t, const char *base, const char *path, int flags, struct where *w)
{
	char rest[ROOM], target[PATH_MAX], *g = w->g;
	const char *p = path, *root = t->fs->root->s;
	size_t root_len = strlen(root), len;
	int links = 0;
	bool magic = false, strict = !is_root(t);
	w->slash = false;
	w->close = -1;
	strcpy(g, *p == '/' ? root : base);
	len = strlen(g);
	for (;;) {
		while (*p == '/')
			p++;
		if (!*p)
			break;
		size_t n = strcspn(p, "/"), parent = len;
		const char *after = p + n;
		while (*after == '/')
			after++;
		bool last = !*after;
		w->slash = last && p[n] == '/';
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		if (n == 1 && *p == '.') {
			p = after;
			continue;
		}
		if (strict) {
			struct where d = {.close = -1};
			struct stat st;
			memcpy(d.g, g, len + 1);
			d.mount = mount_of(d.g, len);
			place(&d, false);
			int bad = look_shown(&d, &st);
			if (!bad && !S_ISDIR(st.st_mode))
				bad = -ENOTDIR;
			if (!bad && !d.mount->proc)
				bad = may(t, &st, 1);
			if (bad)
				return bad;
		}
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (len > root_len && g[--len] != '/')
				;
			g[len] = 0;
			p = after;
			continue;
		}
		if (len + n + 2 >= PATH_MAX + 256)
			return -ENAMETOOLONG;
		lower_fill(g, len);
		g[len++] = '/';
		memcpy(g + len, p, n);
		g[len += n] = 0;
		bool follow = !last || w->slash || flags & FOLLOW;
		struct mount *m = mount_of(g, len);
		if (m->proc && len > m->dst_len && (follow || g[m->dst_len + 1] != 's')) {
			bool to_follow = follow;
			if (to_follow || parent == m->dst_len) {
				int kind = proc_name(t, m, g, parent, last && !w->slash);
				if (kind < 0)
					return kind;
				len = strlen(g);
				if (kind == 2) {
					magic = true;
					break;
				}
				if (kind == 1) {
					p = after;
					continue;
				}
			}
		}
		if (!follow)
			break;
		int kind = link_at(m, g, target);
		if (kind < 0 && !last)
			return kind == -EACCES ? -ENOENT : kind;
		if (kind <= 0) {
			p = after;
			continue;
		}
		if (flags & NO_LINKS || ++links > 40)
			return -ELOOP;
		size_t have = strlen(target), more = strlen(after);
		if (have + more + 3 >= ROOM)
			return -ENAMETOOLONG;
		/* `after` may point into `rest` itself. */
		bool slash = w->slash;
		memmove(rest + have + 1, after, more + 1);
		memcpy(rest, target, have);
		rest[have] = '/';
		if (last && !slash)
			rest[have] = 0;
		p = rest;
		if (*p == '/')
			len = root_len, strcpy(g, root);
		else
			g[len = parent] = 0;
	}
	w->mount = mount_of(g, len);
	place(w, magic);
	return 0;
}

/* Return the guest's path of the working directory. */
int path_cwd(struct task *t, char *g)
{
	struct fs *fs = t->fs;
	if (fs->cwd && fs->generation == generation) {
		strcpy(g, fs->cwd->s);
		return 0;
	}
	char link[64], host[PATH_MAX];
	snprintf(link, sizeof link, "/proc/%d/cwd", t->tid);
	ssize_t n = readlink(link, host, sizeof host - 1);
	if (n < 0)
		return -errno;
	host[n] = 0;
	if (!path_to_guest(strcmp(host, "/") ? host : "", g))
		return -ENOENT;
	text_drop(fs->cwd);
	fs->cwd = text_new(g);
	fs->generation = generation;
	return 0;
}

/* /proc says so of a file whose name was removed, or leads to a copy of it now. */
static void name_it_had(char *host)
{
	size_t n = strlen(host), suffix = strlen(" (deleted)");
	if (n > suffix && !strcmp(host + n - suffix, " (deleted)") && access(host, F_OK))
		host[n - suffix] = 0;
}

/* Name an open file so that the name leads to it whatever happens. */
int path_fd(struct call *c, int fd, struct where *w)
{
	snprintf(w->buffer, sizeof w->buffer, "%s%d/fd/%d", proc, c->t->tid, fd);
	w->fd = AT_FDCWD;
	w->rel = w->buffer;
	w->nofollow = 0;
	w->readonly = w->slash = false;
	w->mount = NULL;
	w->close = -1;
	w->g[0] = 0;
	if (options.paths || options.changes) {
		char host[PATH_MAX], g[ROOM];
		ssize_t n = readlink(w->rel, host, sizeof host - 1);
		if (n < 0)
			return errno == ENOENT ? -EBADF : -errno;
		host[n] = 0;
		name_it_had(host);
		if (host[0] == '/' && path_to_guest(host, g)) {
			strcpy(w->g, g);
			w->mount = mount_of(g, strlen(g));
			w->readonly = w->mount->readonly;
		}
	}
	return 0;
}

/* Where paths are not translated, the kernel resolves them, from the directories of the process. */
static int path_plain(struct call *c, int dirfd, const char *path, int flags, struct where *w)
{
	char start[64];
	w->mount = NULL;
	w->readonly = w->slash = false;
	w->g[0] = 0;
	w->nofollow = flags & FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW;
	w->fd = AT_FDCWD;
	w->rel = w->buffer;
	if (path[0] == '/')
		snprintf(start, sizeof start, "%s%d/root", proc, c->t->tid);
	else if (dirfd == AT_FDCWD)
		snprintf(start, sizeof start, "%s%d/cwd", proc, c->t->tid);
	else
		snprintf(start, sizeof start, "%s%d/fd/%d", proc, c->t->tid, dirfd);
	if (!strncmp(path, "/proc/self", 10) && (path[10] == '/' || !path[10])) {
		if (!path[10] && !(flags & FOLLOW))
			snprintf(w->buffer, sizeof w->buffer, "%s", path);
		else
			snprintf(w->buffer, sizeof w->buffer, "%s%d%s", proc, c->t->tgid, path + 10);
		return 0;
	}
	if (strlen(start) + strlen(path) + 2 < PATH_MAX) {
		snprintf(w->buffer, sizeof w->buffer, "%s/%s", start, path);
		return 0;
	}
	w->fd = w->close = open(start, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w->fd < 0)
		return -errno;
	while (*path == '/')
		path++;
	snprintf(w->buffer, sizeof w->buffer, "%s", path);
	return 0;
}

int path_at_string(struct call *c, int dirfd, const char *path, int flags, struct where *w)
{
	char base[ROOM];
	w->close = -1;
	if (!*path) {
		if (!(flags & EMPTY))
			return -ENOENT;
		if (dirfd != AT_FDCWD)
			return path_fd(c, dirfd, w);
		path = ".";
		flags |= FOLLOW;
	}
	if (!options.paths)
		return path_plain(c, dirfd, path, flags, w);
	base[0] = 0;
	if (*path != '/') {
		if (dirfd == AT_FDCWD) {
			int bad = path_cwd(c->t, base);
			if (bad)
				return bad;
		} else {
			char host[PATH_MAX];
			snprintf(base, sizeof base, "/proc/%d/fd/%d", c->t->tid, dirfd);
			ssize_t n = readlink(base, host, sizeof host - 1);
			if (n < 0)
				return errno == ENOENT ? -EBADF : -errno;
			host[n] = 0;
			if (host[0] != '/')
				return -ENOTDIR;
			if (!path_to_guest(strcmp(host, "/") ? host : "", base))
				return -ENOENT;
			struct mount *m = mount_of(base, strlen(base));
			struct stat st;
			if (!m->cached && m->file)
				return -ENOTDIR;
			(void)st;
		}
	}
	return path_walk(c->t, base, path, flags, w);
}

int path_at(struct call *c, int dirfd, uint64_t pointer, int flags, struct where *w)
{
	char path[PATH_MAX];
	w->close = -1;
	if (!pointer && flags & NULL_OK)
		return path_fd(c, dirfd, w);
	long n = mem_string(c->t->tid, path, pointer, sizeof path);
	if (n < 0)
		return (int)n;
	return path_at_string(c, dirfd, path, flags, w);
}

void where_done(struct where *w)
{
	if (w->close >= 0)
		close(w->close);
	w->close = -1;
}

/* Return the host's path of a file that has a mount, for people to read. */
void path_host(const struct where *w, char *host, size_t room)
{
	if (w->mount)
		snprintf(host, room, "%s%s", w->mount->src, w->g + w->mount->dst_len);
	else
		snprintf(host, room, "%s", w->rel);
}

static void parent_of(const struct where *w, char *path, size_t room)
{
	snprintf(path, room, "%s", w->rel);
	size_t n = strlen(path);
	while (n && path[n - 1] == '/')
		path[--n] = 0;
	char *slash = strrchr(path, '/');
	if (slash)
		*(slash == path ? slash + 1 : slash) = 0;
	else
		strcpy(path, ".");
}

/* Look up the directory of a name, as it is on the disk. */
int where_parent(const struct where *w, struct stat *st)
{
	char path[ROOM + 64];
	if (w->mount && strlen(w->g) == w->mount->dst_len)
		return -ENOENT;
	parent_of(w, path, sizeof path);
	return fstatat(w->fd, path, st, 0) ? -errno : 0;
}

/* Restore the times of the directory of a name. */
void where_keep_times(const struct where *w, const struct stat *before)
{
	char path[ROOM + 64];
	struct timespec times[2] = {before->st_atim, before->st_mtim};
	parent_of(w, path, sizeof path);
	utimensat(w->fd, path, times, 0);
}

/* If the guest can see the file to which /proc leads, use its own name, by which changes are known. */
void path_magic(struct where *w)
{
	char target[PATH_MAX], g[ROOM];
	if (w->nofollow || !w->mount || !w->mount->proc)
		return;
	ssize_t n = readlinkat(w->fd, w->rel, target, sizeof target - 1);
	if (n <= 0)
		return;
	target[n] = 0;
	name_it_had(target);
	if (target[0] != '/' || !path_to_guest(target, g))
		return;
	if (w->rel != w->buffer)
		snprintf(w->buffer, sizeof w->buffer, "%s", w->rel);
	w->rel = w->buffer;
	strcpy(w->g, g);
	w->mount = mount_of(g, strlen(g));
	w->readonly = w->mount->readonly;
}
