/* Files of a layer whose content is still in the layer's tar: they have all their properties, and a hole for content.
 * The content is written when a process opens the file first, in place, so that every name of it, here and under other
 * tracers, has it from then on. Beside the layer's directory, the table `lazy` (helper/lazy.py) says where each
 * content is, and which are written; whoever writes one holds the table's lock. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "tracer.h"

#define MAGIC "PBLAZY02"

struct head {
	char magic[8];
	uint64_t written; /* bytes, of all contents */
	uint64_t count, blobs, strings; /* of records; of tars, the first strings; where the strings begin */
};

struct record { /* by `ino`, in order */
	uint64_t ino, offset, size;
	int64_t mtime; /* ns; on the disk it is another one while the content is written, or after a tracer died then */
	uint32_t blob, path; /* strings: of the tar, from the layer's place; and in the layer */
	uint32_t written, zero;
};

struct source {
	struct source *next;
	char *path;
	int fd;
};
static struct source *sources;

static struct lazy {
	int fd; /* the layer's directory */
	dev_t dev;
	char *place; /* where the directory and the table are */
	struct head *head;
	struct record *records;
	const char *strings;
	size_t room; /* bytes of strings */
} *lazies;
static int lazy_count;

static int source_open(const struct lazy *l, const char *blob)
{
	char path[PATH_MAX];
	struct source *s;
	snprintf(path, sizeof path, "%s/%s", l->place, blob);
	for (s = sources; s && strcmp(s->path, path); s = s->next)
		;
	if (!s) {
		if (!(s = calloc(1, sizeof *s)) || !(s->path = strdup(path)))
			abort();
		s->fd = -1;
		s->next = sources;
		sources = s;
	}
	if (s->fd < 0)
		s->fd = open(path, O_RDONLY | O_CLOEXEC);
	return s->fd < 0 ? -errno : s->fd;
}

/* Read the table of the layer in `directory`, which `fd` has open. */
int lazy_add(int fd, const char *directory)
{
	char path[PATH_MAX];
	struct stat st, one;
	snprintf(path, sizeof path, "%s/../lazy", directory);
	int file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return errno == ENOENT ? 0 : -errno;
	struct head *head = fstat(file, &st) || (size_t)st.st_size < sizeof *head ? MAP_FAILED :
		mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	uint64_t size = (uint64_t)st.st_size;
	if (head == MAP_FAILED || memcmp(head->magic, MAGIC, 8) || head->count > size ||
	    head->strings != sizeof *head + head->count * sizeof(struct record) || head->strings > size ||
	    (head->count && (head->strings == size || ((char *)head)[size - 1])))
		return -EINVAL;
	struct lazy l = {
		.fd = fd, .head = head, .records = (void *)(head + 1), .strings = (char *)head + head->strings,
		.room = size - head->strings,
	};
	if (!head->count)
		return 0;
	for (struct record *r = l.records; r < l.records + head->count; r++)
		if (r->path >= l.room || r->blob >= l.room || (r > l.records && r->ino <= r[-1].ino))
			return -EINVAL;
	if (fstatat(fd, l.strings + l.records->path, &one, AT_SYMLINK_NOFOLLOW))
		return -errno;
	l.dev = one.st_dev;
	path[strlen(path) - strlen("/lazy")] = 0;
	l.place = strdup(path);
	struct lazy *more = realloc(lazies, (size_t)(lazy_count + 1) * sizeof *lazies);
	if (!l.place || !more)
		return -ENOMEM;
	lazies = more;
	lazies[lazy_count++] = l;
	/* Open for as long as the processes run: the store may drop it. */
	const char *blob = l.strings;
	for (uint64_t n = 0; n < head->blobs && blob < l.strings + l.room; n++, blob += strlen(blob) + 1)
		source_open(&l, blob);
	return 0;
}

static struct record *find(const struct stat *st, struct lazy **of)
{
	if (!S_ISREG(st->st_mode) || !st->st_size)
		return NULL;
	for (struct lazy *l = lazies; l < lazies + lazy_count; l++) {
		if (l->dev != st->st_dev)
			continue;
		uint64_t low = 0, high = l->head->count;
		while (low < high) {
			uint64_t middle = (low + high) / 2;
			if (l->records[middle].ino < st->st_ino)
				low = middle + 1;
			else
				high = middle;
		}
		if (low < l->head->count && l->records[low].ino == st->st_ino) {
			*of = l;
			return &l->records[low];
		}
	}
	return NULL;
}

static struct timespec time_of(const struct record *r)
{
	int64_t second = 1000000000, rest = r->mtime % second;
	rest += rest < 0 ? second : 0;
	return (struct timespec){.tv_sec = (r->mtime - rest) / second, .tv_nsec = rest};
}

/* Show a file as it is once it has its content. */
void lazy_show(struct stat *st)
{
	struct lazy *l;
	struct record *r = lazy_count ? find(st, &l) : NULL;
	if (!r)
		return;
	st->st_mtim = time_of(r);
	if (!__atomic_load_n(&r->written, __ATOMIC_ACQUIRE))
		st->st_blocks = (st->st_size + 4095) / 4096 * 8;
}

/* Copy a range of a tar; its holes stay holes. */
static int copy_range(int from, off_t at, int to, off_t size)
{
	static char block[1 << 17]; /* under the lock */
	off_t shift = at, end = at + size;
	struct stat tar;
	if (fstat(from, &tar) || tar.st_size < end)
		return -EIO;
	while (at < end) {
		off_t stored = lseek(from, at, SEEK_DATA), hole;
		if (stored < 0 && errno == ENXIO)
			break;
		if (stored > at)
			at = stored;
		if (at >= end)
			break;
		hole = lseek(from, at, SEEK_HOLE);
		off_t until = hole > at && hole < end ? hole : end, target = at - shift;
		while (until - at > (off_t)sizeof block) {
			ssize_t n = copy_file_range(from, &at, to, &target, (size_t)(until - at), 0);
			if (n < 0 && errno == ENOSPC)
				return -errno;
			if (n <= 0)
				break;
		}
		while (at < until) {
			size_t room = sizeof block, wanted = (size_t)(until - at) < room ? (size_t)(until - at) : room;
			ssize_t n = pread(from, block, wanted, at);
			if (n <= 0)
				return n ? -errno : -EIO;
			ssize_t done = pwrite(to, block, (size_t)n, at - shift);
			if (done != n)
				return done < 0 ? -errno : -ENOSPC;
			at += n;
		}
	}
	return 0;
}

static int write_content(struct lazy *l, struct record *r)
{
	struct stat st;
	int from = source_open(l, l->strings + r->blob), bad = 0;
	if (from < 0)
		return from;
	const char *path = l->strings + r->path;
	int to = openat(l->fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0 || fstat(to, &st))
		bad = -errno;
	else if (st.st_ino != r->ino || (uint64_t)st.st_size != r->size)
		bad = -EIO;
	else
		bad = copy_range(from, (off_t)r->offset, to, st.st_size);
	struct timespec times[2] = {st.st_atim, time_of(r)};
	if (!bad && futimens(to, times))
		bad = -errno;
	if (to >= 0)
		close(to); /* before others learn of it: nobody could execute it meanwhile */
	if (!bad) {
		__atomic_store_n(&r->written, 1, __ATOMIC_RELEASE);
		__atomic_fetch_add(&l->head->written, r->size, __ATOMIC_RELAXED);
	}
	return bad;
}

/* Make sure that the file with these properties has its content, before somebody reads it. */
int lazy_need(const struct stat *st)
{
	struct lazy *l;
	struct record *r = lazy_count ? find(st, &l) : NULL;
	char path[PATH_MAX];
	if (!r || __atomic_load_n(&r->written, __ATOMIC_ACQUIRE))
		return 0;
	snprintf(path, sizeof path, "%s/lazy", l->place);
	int table = open(path, O_RDONLY | O_CLOEXEC), bad = 0;
	if (table < 0 || flock(table, LOCK_EX))
		bad = -errno;
	else if (!__atomic_load_n(&r->written, __ATOMIC_ACQUIRE))
		bad = write_content(l, r);
	if (table >= 0)
		close(table);
	if (bad)
		lower_fails(bad);
	return bad;
}
