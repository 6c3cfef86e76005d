/* The guest's view of the files: the root, and files and directories that are bound in it. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>

#include "tracer.h"

#define MOUNTS 256
static struct mount mounts[MOUNTS]; /* longest guest path first, once ready; the root is the last */
static int mount_count;

int mounts_add(const char *dst, const char *src, bool readonly)
{
	if (mount_count == MOUNTS)
		return -E2BIG;
	struct mount *m = &mounts[mount_count];
	int fd = open(src, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat st;
	struct statfs fs;
	char link[64], real[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, real, sizeof real - 1);
	if (n < 0 || fstat(fd, &st))
		return -errno;
	real[n] = 0;
	m->fd = fd;
	m->src = strdup(strcmp(real, "/") ? real : "");
	m->src_len = strlen(m->src);
	m->dst = strdup(dst);
	size_t len = strlen(m->dst);
	while (len && m->dst[len - 1] == '/')
		m->dst[--len] = 0;
	m->dst_len = len;
	for (struct mount *other = mounts; other < m; other++)
		if (other->dst_len == len && !memcmp(other->dst, m->dst, len)) { /* the last one hides the others */
			close(other->fd);
			m = memcpy(other, m, sizeof *m);
			mount_count--;
			break;
		}
	m->readonly = readonly;
	m->file = !S_ISDIR(st.st_mode);
	m->proc = !fstatfs(fd, &fs) && fs.f_type == PROC_SUPER_MAGIC && !m->file;
	m->cached = !len;
	mount_count++;
	return 0;
}

/* Return a descriptor of the root. */
int mounts_root(void)
{
	return mounts[mount_count - 1].fd;
}

/* Find `path`, and create its missing directories, or a file as the last. `told`: it is part of the image; `own`: of
 * the user. */
int path_make(const char *path, bool directory, bool told, bool own, struct where *w)
{
	struct task nobody = {.fs = &(struct fs){.root = text_new("")}, .tgid = 1};
	char g[ROOM] = "", name[NAME_MAX + 1];
	struct stat st, above;
	int bad = path_walk(&nobody, "", "/", FOLLOW, w);
	while (!bad && *(path += strspn(path, "/"))) {
		size_t n = strcspn(path, "/");
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = 0;
		path += n;
		strcpy(g, w->g);
		bad = path_walk(&nobody, g, name, FOLLOW, w);
		if (bad || look(w, &st) != -ENOENT)
			continue;
		if (w->readonly)
			return -EROFS;
		bad = where_parent(w, &above);
		if (!bad && (directory || path[strspn(path, "/")]))
			bad = mkdirat(w->fd, w->rel, 0755) || fchmodat(w->fd, w->rel, 0755, 0) ? -errno : 0;
		else if (!bad)
			bad = mknodat(w->fd, w->rel, S_IFREG | 0755, 0) ? -errno : 0;
		if (bad)
			return bad;
		paths_changed(w->g, false);
		if (!told)
			where_keep_times(w, &above);
		else {
			touched_anew(w);
			struct owner *o = own && (options.uid || options.gid) && !look(w, &st) ? owner_make(&st, w) : NULL;
			if (o)
				o->uid = options.uid, o->gid = options.gid;
		}
	}
	return bad;
}

/* Directories that every root has. */
static bool base_system(const char *dst)
{
	return !strcmp(dst, "/proc") || !strcmp(dst, "/sys") || !strcmp(dst, "/dev");
}

/* Bind a source where `dst` leads to, and create what is missing of that path. */
int mount_make(const char *dst, const char *src, bool readonly)
{
	struct where w;
	struct stat st;
	if (stat(src, &st))
		return -errno;
	int bad = path_make(dst, S_ISDIR(st.st_mode), base_system(dst), false, &w);
	if (bad && bad != -EROFS && bad != -EACCES && bad != -EPERM)
		return bad;
	bad = mounts_add(bad ? dst : w.g, src, readonly);
	return bad ? bad : mounts_ready();
}

static int by_length(const void *a, const void *b)
{
	size_t x = ((const struct mount *)a)->dst_len, y = ((const struct mount *)b)->dst_len;
	return x < y ? 1 : x > y ? -1 : 0;
}

int mounts_ready(void)
{
	qsort(mounts, (size_t)mount_count, sizeof *mounts, by_length);
	return mount_count && !mounts[mount_count - 1].dst_len ? 0 : -EINVAL;
}

static bool within(const char *path, const char *prefix, size_t n)
{
	return !memcmp(path, prefix, n) && (path[n] == '/' || !path[n]);
}

struct mount *mount_of(const char *g, size_t len)
{
	for (int n = 0; n < mount_count; n++) {
		struct mount *m = &mounts[n];
		if (m->dst_len <= len && within(g, m->dst, m->dst_len))
			return m;
	}
	return &mounts[mount_count - 1];
}

/* Return the guest's path for one of the host's, if the guest can see it. */
bool path_to_guest(const char *host, char *g)
{
	struct mount *best = NULL;
	size_t len = strlen(host);
	for (int n = 0; n < mount_count; n++) {
		struct mount *m = &mounts[n];
		if (m->src_len <= len && within(host, m->src, m->src_len) && (!best || m->src_len > best->src_len))
			best = m;
	}
	if (!best || len - best->src_len + best->dst_len >= ROOM - 1)
		return false;
	memcpy(g, best->dst, best->dst_len);
	strcpy(g + best->dst_len, host + best->src_len);
	/* If something is mounted over it, the guest does not see it. */
	return mount_of(g, strlen(g)) == best || best->src_len == len;
}
