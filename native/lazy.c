/* What of a layer's directory is made when a process looks for it: the names of a directory when one looks into it, and
 * the content of a file, which is a hole at first, when one opens it. Both are made in place, so that every tracer and
 * every name of a file has them from then on. Beside the layer's directory, the table `lazy` (helper/lazy.py) says what
 * there is, where each content is in the layer's tar, and what is made; whoever makes something holds the table's lock. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "tracer.h"

#define MAGIC "PBLAZY03"

struct head {
	char magic[8];
	uint64_t written; /* bytes, of all contents */
	uint64_t directories, count, blobs, slots; /* of directories, records, tars (the first strings), and slots */
	uint64_t strings; /* where they begin */
};

struct directory { /* by `path`, in order */
	uint32_t path, first, count; /* a string; the records of what is in it */
	uint32_t made; /* its names */
	int64_t mtime; /* ns; on the disk it is another one while the names are made */
};

struct record {
	uint64_t ino; /* 0 until it is made */
	uint64_t offset, size;
	int64_t mtime; /* ns; on the disk it is another one while the content is written, or after a tracer died then */
	uint32_t mode;
	uint32_t blob, path, target; /* strings: of the tar, from the layer's place; in the layer; of a symbolic link */
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
	dev_t dev; /* of the files, which need not be the directories'; 0 until the first is met */
	char *place; /* where the directory and the table are */
	struct head *head;
	struct directory *directories;
	struct record *records;
	uint32_t *slots; /* numbers of records, from 1, by inode */
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
	struct stat st;
	snprintf(path, sizeof path, "%s/../lazy", directory);
	int file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return errno == ENOENT ? 0 : -errno;
	struct head *head = fstat(file, &st) || (size_t)st.st_size < sizeof *head ? MAP_FAILED :
		mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (head == MAP_FAILED || memcmp(head->magic, MAGIC, 8))
		return -EINVAL;
	uint64_t size = (uint64_t)st.st_size, slots = head->slots;
	if (head->directories > size || head->count > size || slots > size || slots < 2 || slots & (slots - 1) ||
	    head->strings >= size || ((char *)head)[size - 1] ||
	    head->strings != sizeof *head + head->directories * sizeof(struct directory) +
				     head->count * sizeof(struct record) + slots * sizeof(uint32_t))
		return -EINVAL;
	struct lazy l = {
		.fd = fd, .head = head, .directories = (void *)(head + 1), .strings = (char *)head + head->strings,
		.room = size - head->strings,
	};
	l.records = (void *)(l.directories + head->directories);
	l.slots = (void *)(l.records + head->count);
	for (struct directory *d = l.directories; d < l.directories + head->directories; d++)
		if (d->path >= l.room || d->first > head->count || d->count > head->count - d->first)
			return -EINVAL;
	for (struct record *r = l.records; r < l.records + head->count; r++)
		if (r->path >= l.room || r->blob >= l.room || r->target >= l.room)
			return -EINVAL;
	for (uint64_t n = 0; n < slots; n++)
		if (l.slots[n] > head->count)
			return -EINVAL;
	if (!head->count)
		return 0;
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

/* The slot of an inode: where its record is, or the first free one. */
static uint32_t *slot_of(const struct lazy *l, uint64_t ino)
{
	uint64_t slots = l->head->slots, at = ino * 0x9E3779B97F4A7C15u >> (64 - __builtin_ctzll(slots));
	for (uint64_t n = 0; n < slots; n++, at = (at + 1) & (slots - 1)) {
		uint32_t number = __atomic_load_n(&l->slots[at], __ATOMIC_ACQUIRE);
		if (!number || l->records[number - 1].ino == ino)
			break;
	}
	return &l->slots[at];
}

static struct record *find(const struct stat *st, struct lazy **of)
{
	if (!S_ISREG(st->st_mode) || !st->st_size)
		return NULL;
	for (struct lazy *l = lazies; l < lazies + lazy_count; l++) {
		uint32_t number = l->dev == st->st_dev ? __atomic_load_n(slot_of(l, st->st_ino), __ATOMIC_ACQUIRE) : 0;
		if (number && l->records[number - 1].ino == st->st_ino) {
			*of = l;
			return &l->records[number - 1];
		}
	}
	return NULL;
}

static struct timespec time_of(int64_t mtime)
{
	int64_t second = 1000000000, rest = mtime % second;
	rest += rest < 0 ? second : 0;
	return (struct timespec){.tv_sec = (mtime - rest) / second, .tv_nsec = rest};
}

/* Show a file as it is once it has its content. */
void lazy_show(struct stat *st)
{
	struct lazy *l;
	struct record *r = lazy_count ? find(st, &l) : NULL;
	if (!r)
		return;
	st->st_mtim = time_of(r->mtime);
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
	struct timespec times[2] = {st.st_atim, time_of(r->mtime)};
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

/* Hold the table's lock until the descriptor is closed. */
static int lock_table(const struct lazy *l)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/lazy", l->place);
	int table = open(path, O_RDONLY | O_CLOEXEC);
	if (table < 0 || !flock(table, LOCK_EX))
		return table < 0 ? -errno : table;
	int bad = -errno;
	close(table);
	return bad;
}

/* Make sure that the file with these properties has its content, before somebody reads it. */
int lazy_need(const struct stat *st)
{
	struct lazy *l;
	struct record *r = lazy_count ? find(st, &l) : NULL;
	if (!r || __atomic_load_n(&r->written, __ATOMIC_ACQUIRE))
		return 0;
	int table = lock_table(l), bad = table < 0 ? table : 0;
	if (!bad && !__atomic_load_n(&r->written, __ATOMIC_ACQUIRE))
		bad = write_content(l, r);
	if (table >= 0)
		close(table);
	if (bad)
		lower_fails(bad);
	return bad;
}

/* Names. One that is there already was made by a tracer that died before the directory was finished. */

static int make_file(struct lazy *l, struct record *r, const char *path)
{
	struct stat st;
	int fd = openat(l->fd, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, r->mode & 07777), bad = 0;
	if (fd < 0)
		return -errno;
	struct timespec times[2] = {time_of(r->mtime), time_of(r->mtime)};
	if ((r->size && ftruncate(fd, (off_t)r->size)) || futimens(fd, times) || fstat(fd, &st))
		bad = -errno;
	close(fd);
	if (bad || !r->size)
		return bad;
	r->ino = st.st_ino;
	uint32_t *slot = slot_of(l, st.st_ino);
	if (*slot && l->records[*slot - 1].ino != st.st_ino)
		return -ENOSPC;
	__atomic_store_n(slot, (uint32_t)(r - l->records) + 1, __ATOMIC_RELEASE);
	return 0;
}

static int make_name(struct lazy *l, struct record *r)
{
	const char *path = l->strings + r->path;
	struct timespec times[2] = {time_of(r->mtime), time_of(r->mtime)};
	if (r->ino && *slot_of(l, r->ino))
		return 0;
	if (S_ISREG(r->mode))
		return make_file(l, r, path);
	if (S_ISLNK(r->mode)) {
		if (symlinkat(l->strings + r->target, l->fd, path) && errno != EEXIST)
			return -errno;
	} else if ((mkdirat(l->fd, path, 0700) && errno != EEXIST) || fchmodat(l->fd, path, r->mode & 07777, 0))
		return -errno;
	return utimensat(l->fd, path, times, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static struct directory *directory_of(int fd, const char *path, struct lazy **of)
{
	struct lazy *l = lazies;
	while (l < lazies + lazy_count && l->fd != fd)
		l++;
	uint64_t low = 0, high = l < lazies + lazy_count ? l->head->directories : 0;
	*of = l;
	while (low < high) {
		uint64_t middle = (low + high) / 2;
		int order = strcmp(l->strings + l->directories[middle].path, path);
		if (!order)
			return &l->directories[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Show the directory `path` of the layer that `fd` has open with its own time. */
void lazy_show_directory(int fd, const char *path, struct stat *st)
{
	struct lazy *l;
	struct directory *d = directory_of(fd, path, &l);
	if (d)
		st->st_mtim = time_of(d->mtime);
}

static int make_names(struct lazy *l, struct directory *d, const char *path)
{
	for (struct record *r = l->records + d->first; r < l->records + d->first + d->count; r++) {
		int bad = make_name(l, r);
		if (bad)
			return bad;
	}
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, time_of(d->mtime)};
	if (utimensat(l->fd, path, times, AT_SYMLINK_NOFOLLOW))
		return -errno;
	__atomic_store_n(&d->made, 1, __ATOMIC_RELEASE);
	return 0;
}

/* Make sure that the directory `path` of the layer that `fd` has open has its names, before somebody looks into it. */
int lazy_names(int fd, const char *path)
{
	struct lazy *l;
	struct directory *d = directory_of(fd, path, &l);
	int bad = 0;
	if (!d)
		return 0;
	if (!__atomic_load_n(&d->made, __ATOMIC_ACQUIRE)) {
		int table = lock_table(l);
		bad = table < 0 ? table : d->made ? 0 : make_names(l, d, path);
		if (table >= 0)
			close(table);
	}
	for (struct record *r = l->records + d->first; !bad && !l->dev && r < l->records + d->first + d->count; r++) {
		struct stat st;
		if (!S_ISREG(r->mode) || !r->size)
			continue;
		if (fstatat(fd, l->strings + r->path, &st, AT_SYMLINK_NOFOLLOW))
			bad = -errno;
		else
			l->dev = st.st_dev;
	}
	return bad;
}
