/* Layers below the root: a directory is filled from them when a process first looks into it, so that directories
 * which nobody looks into cost nothing; nor do those of a layer, whose names lazy.c makes then. Regular files become
 * hard links, which cow.c breaks before they change, and whose contents lazy.c writes when they are opened; everything
 * else is created. A layer's deletions are sockets, or overlayfs's whiteouts; a directory that hides those below
 * contains a file `.wh..wh..opq`; the table of owners by path is beside the layer's directory, as `owners`. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "tracer.h"

#define OPAQUE ".wh..wh..opq"

static struct layer {
	int fd;
	char *path;
	struct table *table;
} *layers; /* topmost first, once ready */
static int layer_count;

struct shown { /* a directory that layers have */
	struct shown *next;
	uint64_t hash;
	bool filled;
	int count;
	int *layers; /* that have it, topmost first */
	char g[];
};
#define SHOWN 16384
static struct shown *shown[SHOWN];
static size_t waiting; /* not filled yet */
static int failure;

static struct shown **slot_of(const char *g, size_t len)
{
	uint64_t hash = hash_of(g, len);
	struct shown **at = &shown[hash % SHOWN];
	while (*at && ((*at)->hash != hash || strncmp((*at)->g, g, len) || (*at)->g[len]))
		at = &(*at)->next;
	return at;
}

static void add(const char *g, const int *of, int count)
{
	size_t len = strlen(g);
	struct shown *s = malloc(sizeof *s + len + 1), **slot;
	if (!s || !(s->layers = malloc((size_t)count * sizeof *of)))
		abort();
	memcpy(s->layers, of, (size_t)count * sizeof *of);
	memcpy(s->g, g, len + 1);
	s->hash = hash_of(g, len);
	s->count = count;
	s->filled = false;
	slot = &shown[s->hash % SHOWN];
	s->next = *slot;
	*slot = s;
	waiting++;
}

int lower_add(const char *directory)
{
	char file[PATH_MAX];
	int bad, fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct layer *more = realloc(layers, (size_t)(layer_count + 1) * sizeof *layers);
	if (!more)
		return -ENOMEM;
	layers = more;
	snprintf(file, sizeof file, "%s/../owners", directory);
	layers[layer_count++] = (struct layer){fd, strdup(directory), table_open(file, &bad)};
	return bad ? bad : lazy_add(fd, directory);
}

void lower_ready(void)
{
	int *all = malloc((size_t)layer_count * sizeof *all);
	for (int n = 0; n < layer_count; n++)
		all[n] = n;
	for (int n = 0; n < layer_count / 2; n++) {
		struct layer other = layers[n];
		layers[n] = layers[layer_count - 1 - n];
		layers[layer_count - 1 - n] = other;
	}
	if (layer_count)
		add("", all, layer_count);
	free(all);
}

/* Why a directory or a file could not be filled; 0 when all could. */
int lower_failed(void) { return failure; }

void lower_fails(int bad)
{
	if (!failure)
		failure = bad;
}

/* Names that were met in one directory. */

struct met {
	struct met *next;
	char name[];
};
#define MET 256

/* Return whether the name is met for the first time, and remember it. */
static bool meet(struct met **names, const char *name)
{
	size_t len = strlen(name);
	struct met **slot = &names[hash_of(name, len) % MET], *m;
	for (m = *slot; m; m = m->next)
		if (!strcmp(m->name, name))
			return false;
	if (!(m = malloc(sizeof *m + len + 1)))
		abort();
	memcpy(m->name, name, len + 1);
	m->next = *slot;
	*slot = m;
	return true;
}

static void forget(struct met **names)
{
	for (int n = 0; n < MET; n++)
		for (struct met *next, *m = names[n]; m; m = next) {
			next = m->next;
			free(m);
		}
}

/* Filling. */

static void own(int layer, const char *rel, int to, const char *name)
{
	struct where w = {.fd = to, .rel = name, .nofollow = AT_SYMLINK_NOFOLLOW, .close = -1};
	if (layers[layer].table)
		table_apply(layers[layer].table, rel, &w);
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	int bad = lazy_need(st);
	if (bad)
		return bad;
	struct stat shown = *st;
	lazy_show(&shown);
	struct timespec times[2] = {shown.st_atim, shown.st_mtim};
	int old = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int new = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (old < 0 || new < 0)
		bad = -errno;
	else if (!(bad = copy_data(old, new, st->st_size))) {
		copy_xattrs(old, new);
		if (fchmod(new, st->st_mode & 07777) || futimens(new, times))
			bad = -errno;
	}
	if (old >= 0)
		close(old);
	if (new >= 0)
		close(new);
	return bad;
}

/* Make a directory of layer `s->layers[n]`, and remember those below that show through it. */
static int make_directory(struct shown *s, int n, int from, int to, const char *name, const char *rel, const struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	int of[s->count], count = 0;
	char inner[ROOM], g[ROOM];
	struct stat other;
	if (mkdirat(to, name, 0700) && errno != EEXIST)
		return -errno;
	for (int m = n; m < s->count; m++) {
		int fd = layers[s->layers[m]].fd;
		if (m > n && fstatat(fd, rel, &other, AT_SYMLINK_NOFOLLOW)) {
			if (errno == ENOENT || errno == ENOTDIR)
				continue;
			return -errno;
		}
		if (m > n && !S_ISDIR(other.st_mode))
			break;
		of[count++] = s->layers[m];
		snprintf(inner, sizeof inner, "%s/" OPAQUE, rel);
		if (s->count > n + 1 && !faccessat(fd, inner, F_OK, 0))
			break;
	}
	snprintf(inner, sizeof inner, "%s/%s", layers[s->layers[n]].path, rel);
	if (llistxattr(inner, NULL, 0) > 0) {
		int old = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int new = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		copy_xattrs(old, new);
		close(old);
		close(new);
	}
	own(s->layers[n], rel, to, name);
	if (fchmodat(to, name, st->st_mode & 07777, 0) || utimensat(to, name, times, AT_SYMLINK_NOFOLLOW))
		return -errno;
	snprintf(g, sizeof g, "/%s", rel);
	add(g, of, count);
	return 0;
}

static int make(struct shown *s, int n, int from, int to, struct dirent *item)
{
	char rel[ROOM], target[PATH_MAX];
	const char *name = item->d_name, *parent = s->g + (*s->g == '/');
	struct stat st;
	int bad = 0;
	snprintf(rel, sizeof rel, "%s%s%s", parent, *parent ? "/" : "", name);
	if (item->d_type == DT_REG && !linkat(from, name, to, name, 0)) {
		own(s->layers[n], rel, to, name);
		return 0;
	}
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISDIR(st.st_mode))
		lazy_show_directory(layers[s->layers[n]].fd, rel, &st);
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	if (S_ISDIR(st.st_mode))
		return make_directory(s, n, from, to, name, rel, &st);
	if (S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && !st.st_rdev))
		return 0;
	if (S_ISLNK(st.st_mode)) {
		ssize_t size = readlinkat(from, name, target, sizeof target - 1);
		if (size < 0)
			return -errno;
		target[size] = 0;
		bad = symlinkat(target, to, name) ? -errno : 0;
	} else if (S_ISREG(st.st_mode)) {
		if (linkat(from, name, to, name, 0))
			bad = copy_file(from, to, name, &st);
	} else if (mknodat(to, name, st.st_mode & S_IFMT, st.st_rdev) || fchmodat(to, name, st.st_mode & 07777, 0))
		bad = -errno;
	if (!bad && !S_ISREG(st.st_mode) && utimensat(to, name, times, AT_SYMLINK_NOFOLLOW))
		bad = -errno;
	if (!bad)
		own(s->layers[n], rel, to, name);
	return bad;
}

static int fill(struct shown *s)
{
	const char *rel = *s->g ? s->g + 1 : ".";
	struct met *names[MET] = {0};
	struct stat before;
	int bad = 0, to = openat(mounts_root(), rel, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0 || fstat(to, &before))
		return -errno;
	for (int n = 0; n < s->count && !bad; n++)
		bad = lazy_names(layers[s->layers[n]].fd, s->g + (*s->g == '/'));
	for (int n = 0; n < s->count && !bad; n++) {
		int from = openat(layers[s->layers[n]].fd, rel, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		DIR *directory = from < 0 ? NULL : fdopendir(from);
		if (!directory) {
			bad = -errno;
			break;
		}
		for (struct dirent *item; !bad && (item = readdir(directory));)
			if (strcmp(item->d_name, ".") && strcmp(item->d_name, "..") && strcmp(item->d_name, OPAQUE) &&
			    (s->count == 1 || meet(names, item->d_name)))
				bad = make(s, n, from, to, item);
		closedir(directory);
	}
	forget(names);
	struct timespec times[2] = {before.st_atim, before.st_mtim};
	futimens(to, times);
	close(to);
	return bad;
}

/* Fill the directory at `g` from the layers, before a process looks into it. */
void lower_fill(const char *g, size_t len)
{
	if (!waiting)
		return;
	struct shown *s = *slot_of(g, len);
	if (!s || s->filled)
		return;
	s->filled = true;
	waiting--;
	int bad = fill(s);
	if (bad)
		lower_fails(bad);
}

/* Return whether the directory at `g` has not been filled yet. */
bool lower_waits(const char *g)
{
	struct shown *s = waiting ? *slot_of(g, strlen(g)) : NULL;
	return s && !s->filled;
}

/* Return whether the directory at `g` is one of the layers', not one that a process has made. */
bool lower_shows(const char *g)
{
	return layer_count && *slot_of(g, strlen(g));
}

/* Forget the directory at `g`, which was removed. */
void lower_gone(const char *g)
{
	struct shown **at = slot_of(g, strlen(g)), *s = *at;
	if (!s)
		return;
	*at = s->next;
	waiting -= !s->filled;
	free(s->layers);
	free(s);
}
